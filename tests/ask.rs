//! The commands for an index that runs, against one: what a person reads, and the exit codes.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

const MANIFEST: &str = "apiVersion: flare.gree.net/v1alpha1\nkind: FlareCluster\n\
    metadata: {name: games}\nspec:\n  partitions: 2\n  replicas: 2\n";

/// How long a changed manifest may take to be read; it is looked at once a second.
const PATIENCE: Duration = Duration::from_secs(60);

fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_flare-operator"))
}

/// A running index without nodes; killed when the test ends.
struct Index {
    process: Child,
    listens: SocketAddr,
    admin: SocketAddr,
    folder: TempDir,
}

impl Index {
    fn start(automatic: bool) -> Self {
        Self::start_with(automatic.then_some(MANIFEST))
    }

    fn start_with(text: Option<&str>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let manifest = folder.path().join("cluster.yaml");
        fs::write(&manifest, text.unwrap_or_default()).expect("there is room");
        let mut command = program();
        command.args(["index", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
        command.args(["--metrics", "off", "--log", "off", "--data-dir"]).arg(folder.path());
        if text.is_some() {
            command.arg("--cluster").arg(&manifest);
        }
        let mut process = command.stdout(Stdio::piped()).spawn().expect("it can be started");
        let mut lines = BufReader::new(process.stdout.take().expect("it is piped")).lines();
        let mut address = |what: &str| -> SocketAddr {
            let line = lines.next().expect("a line").expect("text");
            let address = line.strip_prefix(what).unwrap_or_else(|| panic!("{line}"));
            address.parse().expect("an address")
        };
        let listens = address("index listening on ");
        let admin = address("admin listening on ");
        Self { process, listens, admin, folder }
    }

    /// The command's exit code, and what it said on stdout and stderr.
    fn ask(&self, args: &[&str]) -> (i32, String, String) {
        ask(args, self.admin)
    }
}

impl Drop for Index {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn ask(args: &[&str], admin: SocketAddr) -> (i32, String, String) {
    let output: Output = program()
        .args(args)
        .args(["--admin", &admin.to_string()])
        // A proxy of the environment is not for this machine.
        .env("http_proxy", "http://127.0.0.1:1")
        .output()
        .expect("the program can be started");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    (output.status.code().expect("a code"), text(output.stdout), text(output.stderr))
}

#[test]
fn status_tells_the_map_the_breaker_and_what_is_in_the_way() {
    let index = Index::start(true);
    let (code, told, _) = index.ask(&["status"]);
    assert_eq!(code, 0);
    assert!(told.starts_with("games, map version 0, wanted: 2 partitions of 2 copies\n"), "{told}");
    assert!(told.contains("circuit breaker: closed (0 of 0 nodes with a role are dead)"), "{told}");
    assert!(told.contains("in the way:\n- "), "{told}");
    let (_, json, _) = index.ask(&["status", "--output", "json"]);
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["topology"]["cluster"], "games");
    assert_eq!(json["breaker"]["state"], "closed");
}

#[test]
fn a_node_that_joined_is_shown() {
    let index = Index::start(false);
    let mut stream = TcpStream::connect(index.listens).expect("it listens");
    stream.write_all(b"node add 127.0.0.1 1\r\n").expect("it reads");
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).expect("it answers");
    assert!(line.starts_with("NODE 127.0.0.1 1"), "{line}");
    let (code, told, _) = index.ask(&["status"]);
    assert_eq!(code, 0);
    assert!(told.contains("map version 1, assigned by hand"), "{told}");
    assert!(told.contains("without a partition: 127.0.0.1:1 ("), "{told}");
    assert!(told.contains("the circuit breaker is switched off"), "{told}");
}

#[test]
fn zones_are_shown_and_follow_the_manifest() {
    let with = |zones: &str| format!("{MANIFEST}  nodes: {{zones: {zones}}}\n");
    let index = Index::start_with(Some(&with("{rack-1: [127.0.0.1:1]}")));
    for port in [1, 2] {
        let mut stream = TcpStream::connect(index.listens).expect("it listens");
        write!(stream, "node add 127.0.0.1 {port}\r\n").expect("it reads");
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).expect("it answers");
    }
    let told = || index.ask(&["status"]).1;
    let before = told();
    assert!(before.contains("127.0.0.1:1 (not connected, in rack-1)"), "{before}");
    assert!(before.contains("127.0.0.1:2 (not connected, zone unknown)"), "{before}");
    let manifest = index.folder.path().join("cluster.yaml");
    fs::write(manifest, with("{rack-2: [127.0.0.1]}")).expect("there is room");
    let begin = Instant::now();
    while told().matches("in rack-2").count() < 2 {
        assert!(begin.elapsed() < PATIENCE, "the manifest is not taken in: {}", told());
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn the_breaker_is_shown_and_closed() {
    let index = Index::start(true);
    for order in ["status", "reset"] {
        let (code, told, said) = index.ask(&["breaker", order]);
        assert_eq!(code, 0, "{said}");
        assert!(told.contains("circuit breaker: closed"), "{told}");
        assert!(told.contains("opens at 50 % dead and 2 dead nodes at least"), "{told}");
        assert!(told.contains("closes by itself when 80 % stay healthy"), "{told}");
    }
}

#[test]
fn what_the_index_refuses_is_said_in_its_words() {
    let index = Index::start(true);
    let refused = |args: &[&str], sentence: &str| {
        let (code, told, said) = index.ask(args);
        assert_eq!((code, told.as_str()), (1, ""), "{said}");
        assert!(said.starts_with("flare-operator: refused: "), "{said}");
        assert!(said.contains(sentence), "{said}");
    };
    refused(&["switchover", "0"], "no active slave could take over");
    refused(&["switchover", "0", "--to", "a:1", "--pause"], "no active slave");
    refused(&["leave", "10.0.0.7:12121"], "no such node");
    refused(&["recover", "0", "--from", "10.0.0.7:12121"], "nothing is to be recovered");
    refused(&["leave", "a/b:1", "--cancel"], "no such node");
    let by_hand = Index::start(false);
    let (code, _, said) = by_hand.ask(&["recover", "0", "--from", "a:1"]);
    assert_eq!((code, said.contains("replace one that is down with `node role`")), (1, true));
}

#[test]
fn a_wrong_command_line_and_an_index_that_does_not_answer_have_a_code_of_their_own() {
    let index = Index::start(true);
    let (code, _, said) = index.ask(&["leave", "nonsense"]);
    assert_eq!(code, 2);
    assert!(said.contains("a node is named name:port"), "{said}");
    // No copy is chosen by silence.
    let (code, _, said) = index.ask(&["recover", "0"]);
    assert_eq!((code, said.contains("--from <NAME:PORT>")), (2, true), "{said}");

    let unused = TcpListener::bind("127.0.0.1:0").expect("a port");
    let nobody = unused.local_addr().expect("its address");
    drop(unused);
    for args in [
        &["status"][..],
        &["breaker", "reset"],
        &["switchover", "0"],
        &["recover", "0", "--from", "a:1"],
    ] {
        let (code, told, said) = ask(args, nobody);
        assert_eq!((code, told.as_str()), (2, ""), "{args:?}: {said}");
        assert!(said.contains(&format!("no index answers at {nobody}")), "{said}");
    }

    // The port of the index itself speaks another protocol.
    let (code, _, said) = ask(&["status"], index.listens);
    assert_eq!(code, 2, "{said}");
}

/// Takes one request and answers with these bytes, then ends the connection.
fn answer_once(answer: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("somebody asks");
        let mut request = [0; 4096];
        let read = stream.read(&mut request).expect("it asks");
        assert!(read > 0);
        stream.write_all(answer.as_bytes()).expect("it reads");
        stream.shutdown(Shutdown::Write).expect("it is open");
        // What is not read would make the end a reset, which overtakes the answer.
        let _ = stream.read_to_end(&mut Vec::new());
    });
    address
}

#[test]
fn an_order_whose_answer_did_not_come_may_have_been_done_and_that_is_said() {
    let cut = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"switched\"";
    let stuck = "HTTP/1.1 504 Gateway Timeout\r\nContent-Length: 84\r\n\r\n\
        {\"error\":\"the topology did not answer: it is not known whether the order was done\"}\n";
    for args in [
        &["switchover", "0"][..],
        &["leave", "a:1"],
        &["recover", "0", "--from", "a:1"],
        &["breaker", "reset"],
    ] {
        for answer in ["", cut, stuck] {
            let (code, told, said) = ask(args, answer_once(answer));
            assert_eq!((code, told.as_str()), (1, ""), "{args:?}: {said}");
            assert!(said.contains("it is not known whether the order was done"), "{said}");
            assert!(!said.contains("refused") && !said.contains("no index answers"), "{said}");
        }
    }
    // A question changes nothing.
    let (code, _, said) = ask(&["status"], answer_once(""));
    assert_eq!((code, said.contains("no index answers")), (2, true), "{said}");
}

#[test]
fn an_order_that_was_done_is_no_failure_if_nothing_more_can_be_told() {
    let done =
        "HTTP/1.1 200 OK\r\nContent-Length: 15\r\nConnection: close\r\n\r\n{\"switched\": 0}";
    let (code, told, said) = ask(&["switchover", "0"], answer_once(done));
    assert_eq!((code, told.as_str()), (0, "the master of partition 0 was swapped.\n"), "{said}");
    let (code, told, said) = ask(&["recover", "0", "--from", "a:1"], answer_once(done));
    assert_eq!((code, told.contains("a:1 was chosen and is not the master")), (0, true), "{said}");
    let (code, told, said) = ask(&["breaker", "reset"], answer_once(done));
    assert_eq!((code, told.as_str()), (0, "the circuit breaker was closed.\n"), "{said}");
}
