//! The documents show only commands that exist: every `flare-operator …` line in a code block of
//! README.md and docs/ is held against the program's own `--help`.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

#[test]
fn every_flag_in_the_documents_is_one_of_the_programs() {
    let mut seen = 0;
    for (document, line) in commands() {
        let command = line.split(" #").next().unwrap_or_default();
        let words = || command.split_whitespace().skip(1);
        let subcommand: Vec<&str> = words().take_while(|word| !word.starts_with("--")).collect();
        let help = help(&subcommand);
        for flag in words().filter(|word| word.starts_with("--")) {
            assert!(help.contains(flag), "{document}: `{line}`: {subcommand:?} has no {flag}");
            seen += 1;
        }
    }
    assert!(seen > 5, "the documents show commands, and they were not found");
}

/// Lines of code blocks that begin with the program's name, and where they stand.
fn commands() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut documents = vec![root.join("README.md")];
    let docs = fs::read_dir(root.join("docs")).expect("there are documents");
    documents.extend(docs.map(|entry| entry.expect("a readable folder").path()));
    let mut found = Vec::new();
    for document in documents {
        let text = fs::read_to_string(&document).expect("a readable document");
        let lines = text.lines().map(str::trim).filter(|line| line.starts_with("flare-operator "));
        found.extend(lines.map(|line| (document.display().to_string(), line.to_owned())));
    }
    found
}

/// The long flags that a subcommand knows; it may have subcommands of its own.
fn help(subcommand: &[&str]) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO_BIN_EXE_flare-operator"))
        .args(subcommand)
        .arg("--help")
        .output()
        .expect("the program is built");
    assert!(output.status.success(), "there is no `flare-operator {subcommand:?}`");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let words = text.split(|c: char| c.is_whitespace() || ",[]=<>|`".contains(c));
    words.filter(|word| word.starts_with("--")).map(str::to_owned).collect()
}
