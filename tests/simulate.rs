//! `flare-operator simulate breaker`: the table of the documents is the program's, and what cannot
//! be asked is refused in words.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

/// The table in docs/circuit-breaker.md stands between these lines.
const BEGIN: &str = "<!-- flare-operator simulate breaker -->\n```text\n";
const END: &str = "```\n<!-- end -->\n";

/// Set to anything: the document is given the program's table instead of being compared with it.
const UPDATE: &str = "UPDATE_DOCUMENTS";

fn simulate(flags: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_flare-operator"))
        .args(["simulate", "breaker"])
        .args(flags)
        .output()
        .expect("the program can be started")
}

fn table(flags: &[&str]) -> String {
    let output = simulate(flags);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn the_table_in_the_document_is_what_the_program_shows() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/circuit-breaker.md");
    let document = fs::read_to_string(&path).expect("the document is there");
    let (before, rest) = document.split_once(BEGIN).expect("the place of the table");
    let (told, after) = rest.split_once(END).expect("the end of the table");
    let shown = table(&[]);
    if std::env::var_os(UPDATE).is_some() {
        fs::write(&path, format!("{before}{BEGIN}{shown}{END}{after}")).expect("it can be written");
        return;
    }
    let differs = told.lines().zip(shown.lines()).find(|(told, shown)| told != shown);
    assert!(
        told == shown,
        "docs/circuit-breaker.md is not what the program shows, first here: {differs:?}; when that \
         is right, {UPDATE}=1 cargo test --test simulate"
    );
}

#[test]
fn every_loss_can_be_shown_and_read_by_a_program() {
    let flags = ["--partitions", "2", "--replicas", "2", "--zones", "2", "--trip", "50"];
    let cases = table(&[&flags[..], &["--cases"]].concat());
    assert!(cases.contains("node a0, zone b"), "{cases}");
    let json = table(&[&flags[..], &["--output", "json"]].concat());
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    let found = json[0]["deployments"][0]["cases"].as_array().expect("cases");
    let zone = found.iter().find(|case| case["losses"][0] == "zone a").expect("this loss");
    assert_eq!((&zone["trips"], &zone["whole"]), (&true.into(), &true.into()));
    assert_eq!(cases.lines().count(), 4 + found.len());
}

#[test]
fn what_cannot_be_is_refused_in_a_sentence() {
    let refused = |flags: &[&str], sentence: &str| {
        let output = simulate(flags);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(sentence), "{said}");
    };
    refused(&["--trip", "50", "--reset", "50"], "it must be above 50");
    refused(&["--min-dead-nodes", "0"], "minDeadNodes is 0");
    refused(&["--partitions", "2", "--nodes", "1"], "1 nodes are too few for 2 copies");
    refused(&["--partitions", "100", "--replicas", "3"], "300 nodes are too many");
    refused(&["--partitions", "0"], "partitions is 0");
}
