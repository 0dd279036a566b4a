//! Text scripts for the topology: a command or more, `----`, what came of it.
//!
//! The scripts are `core/testdata/*.txt`. `REWRITE=1 cargo test -p flare-core --test script` writes
//! what happened into them, so that a change of behaviour is reviewed as a difference in text.
//! Commands are described in `core/testdata/README.md`.

mod run;
mod show;
mod words;

use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn every_script_tells_what_happens() {
    let mut wrong = Vec::new();
    let scripts = scripts();
    assert!(!scripts.is_empty(), "the scripts of core/testdata are missing");
    for path in scripts {
        let text = fs::read_to_string(&path).expect("a script can be read");
        let played = play(&text);
        if played == text {
            continue;
        }
        if std::env::var_os("REWRITE").is_some() {
            fs::write(&path, played).expect("a script can be written");
            continue;
        }
        wrong.push(difference(&path, &text, &played));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn scripts() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata");
    let entries = fs::read_dir(&folder).expect("core/testdata exists");
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.expect("an entry can be read").path())
        .filter(|path| path.extension().is_some_and(|end| end == "txt"))
        .collect();
    paths.sort();
    paths
}

/// Plays a script and returns it with what happened after each `----`.
fn play(text: &str) -> String {
    let mut run = run::Run::default();
    let mut out = String::new();
    for block in text.trim_end().split("\n\n") {
        let commands: Vec<&str> = block.lines().take_while(|line| *line != "----").collect();
        out.push_str(&commands.join("\n"));
        out.push('\n');
        let silent = commands.iter().all(|line| line.starts_with('#'));
        if !silent {
            out.push_str("----\n");
            out.push_str(&run.play(&commands));
        }
        out.push('\n');
    }
    out.truncate(out.trim_end().len());
    out.push('\n');
    out
}

fn difference(path: &Path, expected: &str, played: &str) -> String {
    let at = expected.lines().zip(played.lines()).position(|(a, b)| a != b);
    let at = at.unwrap_or_else(|| expected.lines().count().min(played.lines().count()));
    let near = |text: &str| {
        let lines = text.lines().skip(at.saturating_sub(4)).take(14);
        lines.map(|line| format!("    {line}\n")).collect::<String>()
    };
    format!(
        "{}:{}: expected\n{}  but it is\n{}",
        path.display(),
        at + 1,
        near(expected),
        near(played)
    )
}
