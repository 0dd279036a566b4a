//! docs/verification.md names tests, and each of them exists: a test that is renamed or removed
//! takes the claim that rests on it along.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

#[test]
fn every_test_that_the_verification_table_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("two folders down");
    let text = fs::read_to_string(root.join("docs/verification.md")).expect("the document");
    let named = named(&text);
    assert!(named.len() > 20, "the table was not found");
    let known = known(root);
    let lies: Vec<_> = named.difference(&known).collect();
    assert!(lies.is_empty(), "no such test: {lies:?}");
}

/// What stands in code type in the last column of a table of rules.
fn named(text: &str) -> BTreeSet<String> {
    let rows = text.lines().filter(|line| line.starts_with("| R"));
    let cells = rows.filter_map(|row| row.trim_end_matches([' ', '|']).rsplit('|').next());
    cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).map(str::to_owned).collect()
}

/// Functions of any `.rs` file, names of end-to-end tests (they are strings), scripts, files.
fn known(root: &Path) -> BTreeSet<String> {
    let mut known = BTreeSet::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a readable folder") {
            let path = entry.expect("a readable folder").path();
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            if path.is_dir() {
                if !["target", "node_modules", ".git"].contains(&name.as_str()) {
                    folders.push(path);
                }
                continue;
            }
            if name.ends_with(".rs") {
                let text = fs::read_to_string(&path).expect("a readable file");
                known.extend(words_after(&text, "fn "));
                known.extend(text.split('"').skip(1).step_by(2).map(str::to_owned));
            }
            let from_root = path.strip_prefix(root).expect("below the root").to_string_lossy();
            known.insert(from_root.into_owned());
            known.insert(name.trim_end_matches(".txt").to_owned());
        }
    }
    known
}

fn words_after(text: &str, mark: &str) -> Vec<String> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let rests = text.split(mark).skip(1);
    rests.map(|rest| rest.chars().take_while(|c| is_word(*c)).collect()).collect()
}

#[test]
fn a_test_that_is_gone_is_found() {
    let table = "| R1 | one master | `kept`, `gone` |\n| R2 `no` | x | `kept_too` |\n";
    assert_eq!(named(table).into_iter().collect::<Vec<_>>(), ["gone", "kept", "kept_too"]);
    assert_eq!(words_after("fn kept() {}\npub fn other_1<T>(", "fn "), ["kept", "other_1"]);
}
