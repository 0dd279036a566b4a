//! The documents tell no lies about the repository: every relative link leads to a file, and every
//! `#anchor` to a heading.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn every_relative_link_leads_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .expect("a package two folders down");
    let documents = documents(root);
    let mut dead = Vec::new();
    for document in &documents {
        let text = fs::read_to_string(document).expect("a readable file");
        for link in links(&text) {
            if let Some(why) = dead_link(document, &text, link) {
                dead.push(format!("{}: ({link}) {why}", document.display()));
            }
        }
    }
    assert!(dead.is_empty(), "\n{}\n", dead.join("\n"));
}

/// Markdown at the root and, one folder down or deeper, wherever sources and docs lie.
fn documents(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a readable folder") {
        let path = entry.expect("a readable folder").path();
        let name = path.file_name().expect("a path with a name").to_string_lossy().into_owned();
        if path.is_dir() {
            if !["target", "node_modules", ".git"].contains(&name.as_str()) {
                found.extend(documents(&path));
            }
        } else if name.ends_with(".md") {
            found.push(path);
        }
    }
    found
}

fn dead_link(document: &Path, text: &str, link: &str) -> Option<String> {
    if link.contains("://") || link.starts_with("mailto:") {
        return None;
    }
    let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
    let target = document.parent().expect("a file in a folder").join(path);
    if !path.is_empty() && !target.exists() {
        return Some("leads to no file".to_owned());
    }
    if anchor.is_empty() {
        return None;
    }
    let headings = if path.is_empty() {
        anchors(text)
    } else {
        anchors(&fs::read_to_string(target).unwrap_or_default())
    };
    (!headings.contains(anchor)).then(|| "leads to no heading".to_owned())
}

/// The targets of `[text](target)` outside of code blocks.
fn links(text: &str) -> Vec<&str> {
    prose(text)
        .flat_map(|line| line.split("](").skip(1))
        .filter_map(|rest| rest.split_once(')').map(|(target, _)| target))
        .collect()
}

/// The anchors that a reader's browser makes of the headings: lower case, spaces to hyphens,
/// other signs dropped.
fn anchors(text: &str) -> BTreeSet<String> {
    prose(text)
        .filter(|line| line.starts_with('#'))
        .map(|line| {
            let heading = line.trim_start_matches('#').trim().to_lowercase();
            heading
                .chars()
                .filter(|c| c.is_alphanumeric() || " -_".contains(*c))
                .map(|c| if c == ' ' { '-' } else { c })
                .collect()
        })
        .collect()
}

fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut in_code = false;
    text.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        in_code ^= fence;
        !in_code && !fence
    })
}

#[test]
fn a_dead_link_is_found_and_a_good_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let document = folder.path().join("README.md");
    fs::write(folder.path().join("other.md"), "# What R1–R16 say, briefly\n").unwrap();
    let text = "# Top\n[a](other.md) [b](other.md#what-r1r16-say-briefly) [c](#top)\n\
        ```\n[not](a-link.md)\n```\n";
    let dead = |text: &str| {
        links(text).into_iter().filter_map(|l| dead_link(&document, text, l)).collect::<Vec<_>>()
    };
    assert_eq!(dead(text), Vec::<String>::new());
    for bad in ["[x](gone.md)", "[x](other.md#gone)", "[x](#gone)", "a [y](z/), [b](c)"] {
        assert!(!dead(bad).is_empty(), "{bad}");
    }
}
