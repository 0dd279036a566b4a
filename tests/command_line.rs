//! The binary as a person starts it: addresses on stdout, sentences on stderr, exit codes,
//! signals, and flarei's files in and out.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use flare_actors::store::file::FileStore;
use flare_core::model::NodeKey;
use flare_core::stored::{HandoverStep, StoredHandover};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A folder that cannot be made, also by root.
const NOWHERE: &str = "/dev/null/nowhere";

/// A map as upstream wrote it.
const FLARE_XML: &str = include_str!("../core/tests/formats/three-nodes.flare.xml");

fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_flare-operator"))
}

/// Runs it to its end.
fn run(args: &[&str]) -> Output {
    program().args(args).output().expect("the program can be started")
}

fn sentence(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A running index; killed when the test ends, whatever its outcome.
struct Index {
    process: Child,
    address: SocketAddr,
}

impl Index {
    fn start(data_dir: &Path, more: &[&str]) -> Self {
        let mut process = program()
            .args(["index", "--listen", "127.0.0.1:0", "--admin", "off", "--metrics", "off"])
            .args(["--log", "warn", "--data-dir"])
            .arg(data_dir)
            .args(more)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program can be started");
        let mut line = String::new();
        let stdout = process.stdout.take().expect("it is piped");
        BufReader::new(stdout).read_line(&mut line).expect("it prints its address");
        let address = line.trim().strip_prefix("index listening on ").expect("that line");
        let address = address.parse().expect("an address");
        Self { process, address }
    }

    /// Sends commands and reads until the index closes the connection.
    fn ask(&self, commands: &str) -> String {
        let mut stream = TcpStream::connect(self.address).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a deadline");
        stream.write_all(commands.as_bytes()).expect("it reads");
        stream.write_all(b"\r\nquit\r\n").expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers and closes");
        answer
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).expect("it runs");
    }

    /// The exit code after SIGTERM.
    fn terminate(mut self) -> Option<i32> {
        self.signal(Signal::TERM);
        let began = Instant::now();
        loop {
            if let Some(status) = self.process.try_wait().expect("it is our child") {
                return status.code();
            }
            assert!(began.elapsed() < PATIENCE, "it does not end");
            std::thread::yield_now();
        }
    }
}

impl Drop for Index {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

#[test]
fn sigterm_ends_it_in_order_and_the_map_is_there_again() {
    let data = folder();
    let index = Index::start(data.path(), &[]);
    let answer = index.ask("node add 127.0.0.1 1");
    assert!(answer.starts_with("NODE 127.0.0.1 1 2 0 -1 0 16\r\nEND\r\n"), "{answer}");
    assert_eq!(index.terminate(), Some(0));
    let index = Index::start(data.path(), &[]);
    let nodes = index.ask("stats nodes");
    assert!(nodes.contains("STAT 127.0.0.1:1:thread_type 16"), "{nodes}");
}

#[test]
fn a_killed_index_goes_on_from_what_it_acknowledged() {
    let data = folder();
    let mut index = Index::start(data.path(), &[]);
    index.ask("node add 127.0.0.1 1");
    index.process.kill().expect("it runs");
    index.process.wait().expect("it ends");
    let again = Index::start(data.path(), &[]);
    assert!(again.ask("stats nodes").contains("127.0.0.1:1:role"));
}

#[test]
fn two_indexes_do_not_share_a_folder() {
    let data = folder();
    let _index = Index::start(data.path(), &[]);
    let path = data.path().to_str().expect("a plain path");
    let second = run(&["index", "--listen", "127.0.0.1:0", "--data-dir", path]);
    assert_eq!(second.status.code(), Some(1));
    assert!(sentence(&second).contains("another index uses this data folder"));
}

#[test]
fn a_taken_port_is_a_sentence() {
    let (one, two) = (folder(), folder());
    let index = Index::start(one.path(), &[]);
    let taken = index.address.to_string();
    let path = two.path().to_str().expect("a plain path");
    let second = run(&["index", "--listen", &taken, "--data-dir", path]);
    assert_eq!(second.status.code(), Some(1));
    let sentence = sentence(&second);
    assert!(sentence.contains(&format!("cannot listen on {taken}")), "{sentence}");
}

#[test]
fn what_cannot_be_read_has_codes_of_its_own() {
    let bad_flag = run(&["index", "--no-such-flag"]);
    assert_eq!(bad_flag.status.code(), Some(2));
    let misuses: [(&[&str], &str); 6] = [
        (&["index"], "--data-dir FOLDER"),
        (&["index", "--assign", "auto", "--data-dir", NOWHERE], "--cluster FILE.yaml"),
        (&["index", "--assign", "manual", "--cluster", "x"], "leave one of them out"),
        (&["index", "--data-dir", NOWHERE, "--log", "a=["], "the filter cannot be read"),
        (
            &["import", "--from", "x", "--data-dir", "x", "--partition-modular-hint", "1024"],
            "partition-modular-hint must be",
        ),
        (&["simulate", "breaker", "--trip", "101"], "tripThresholdPercent is 101"),
    ];
    for (args, what) in misuses {
        let misuse = run(args);
        assert_eq!(misuse.status.code(), Some(2), "{args:?}: {}", sentence(&misuse));
        assert!(sentence(&misuse).contains(what), "{args:?}: {}", sentence(&misuse));
    }
    // What is not there is no misuse.
    let nowhere = run(&["export", "--data-dir", NOWHERE]);
    assert_eq!(nowhere.status.code(), Some(1), "{}", sentence(&nowhere));
}

#[test]
fn numbers_that_flare_cannot_take_are_errors_of_the_command_line() {
    let index = ["index", "--data-dir", NOWHERE];
    let mut cases: Vec<Vec<&str>> = Vec::new();
    for flag in [
        "--max-connection",
        "--monitor-threshold",
        "--monitor-interval",
        "--monitor-read-timeout",
        "--thread-pool-size",
        "--stack-size",
        "--partition-size",
        "--partition-modular-hint",
        "--partition-modular-virtual",
        "--max-nodes",
    ] {
        cases.push([&index[..], &[flag, "2147483648"]].concat());
    }
    // A map of more nodes would not be read again.
    cases.push([&index[..], &["--max-nodes", "10001"]].concat());
    cases.push([&index[..], &["--partition-size", "1"]].concat());
    cases.push(vec!["switchover", "2147483648"]);
    cases.push(vec!["recover", "2147483648", "--from", "a:1"]);
    for args in cases {
        let refused = run(&args);
        assert_eq!(refused.status.code(), Some(2), "{args:?}: {}", sentence(&refused));
        assert!(sentence(&refused).contains(" is not in "), "{args:?}: {}", sentence(&refused));
    }
}

#[test]
fn a_number_of_flareis_file_that_flare_cannot_take_is_named_with_its_line() {
    let data = folder();
    let conf = data.path().join("flarei.conf");
    fs::write(&conf, "partition-modular-virtual = 2147483648\n").expect("there is room");
    let (conf, path) = (conf.to_str().unwrap(), data.path().to_str().unwrap());
    let refused = run(&["index", "--data-dir", path, "--flarei-conf", conf]);
    assert_eq!(refused.status.code(), Some(1));
    let sentence = sentence(&refused);
    assert!(sentence.contains("line 1: `partition-modular-virtual` must be"), "{sentence}");
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let data = folder();
    let xml = data.path().join("flare.xml");
    fs::write(&xml, FLARE_XML).expect("there is room");
    let (xml, path) = (xml.to_str().unwrap(), data.path().to_str().unwrap());
    for args in [
        &["import", "--from", xml, "--data-dir", path][..],
        &["export", "--data-dir", path],
        &["simulate", "breaker", "--partitions", "1", "--replicas", "1", "--zones", "1"],
    ] {
        let (reader, writer) = io::pipe().expect("a pipe");
        drop(reader);
        let ended = program().args(args).stdout(writer).output().expect("it can be started");
        assert_eq!((ended.status.code(), sentence(&ended)), (Some(0), String::new()), "{args:?}");
    }
}

#[test]
fn an_unknown_key_of_flareis_file_is_fatal_and_named() {
    let data = folder();
    let conf = data.path().join("flarei.conf");
    fs::write(&conf, "server-name = x\nnet-read-timeout = 60\n").expect("there is room");
    let (conf, path) = (conf.to_str().unwrap(), data.path().to_str().unwrap());
    let refused = run(&["index", "--data-dir", path, "--flarei-conf", conf]);
    assert_eq!(refused.status.code(), Some(1));
    let sentence = sentence(&refused);
    assert!(sentence.contains("line 2: `net-read-timeout` is not a key of flarei"), "{sentence}");
}

#[test]
fn sighup_takes_over_what_may_change_and_survives_a_broken_file() {
    let data = folder();
    let conf = data.path().join("flarei.conf");
    fs::write(&conf, "max-connection = 200\nmonitor-threshold = 5\n").expect("there is room");
    let index = Index::start(
        &data.path().join("data"),
        &["--flarei-conf", conf.to_str().unwrap(), "--max-connection", "100"],
    );
    let shows = |what: &str| index.ask("show variables").contains(what);
    assert!(shows("max_connection:           100\r\n"), "flags win at the start");
    assert!(shows("monitor_threshold:        5\r\n"));

    fs::write(&conf, "max-connection = 300\nserver-name = other\n").expect("there is room");
    index.signal(Signal::HUP);
    let began = Instant::now();
    while !shows("max_connection:           300\r\n") {
        assert!(began.elapsed() < PATIENCE, "the file is not read again");
    }
    assert!(shows("monitor_threshold:        5\r\n"), "what is no longer there stays");
    assert!(!shows("server_name:              other\r\n"), "a name needs a restart");

    fs::write(&conf, "max-connection = 400\nnonsense = 1\n").expect("there is room");
    index.signal(Signal::HUP);
    assert!(shows("max_connection:           300\r\n"), "nothing of a broken file counts");

    // flarei takes 0, and then never holds a node dead.
    fs::write(&conf, "monitor-threshold = 0\n").expect("there is room");
    index.signal(Signal::HUP);
    let began = Instant::now();
    while !shows("monitor_threshold:        0\r\n") {
        assert!(began.elapsed() < PATIENCE, "a threshold of 0 is not taken over");
    }
    assert_eq!(index.terminate(), Some(0));
}

#[test]
fn a_map_between_the_steps_of_a_swap_is_not_written_for_flarei() {
    let data = folder();
    let hash = flare_core::model::HashSettings::default();
    let mut stored = flare_core::flare_xml::decode(FLARE_XML.as_bytes(), hash).expect("it is good");
    let [from, to] = [1, 2].map(|port| NodeKey::new("10.0.0.7", port));
    stored.handover = Some(StoredHandover {
        partition: 3,
        from,
        to,
        relay: None,
        balances: BTreeMap::new(),
        step: HandoverStep::Switching,
    });
    FileStore::open(data.path()).expect("a folder").create(&stored).expect("there is room");
    let to = data.path().join("flare.xml");
    let (path, to) = (data.path().to_str().unwrap(), to.to_str().unwrap());
    let refused = run(&["export", "--data-dir", path, "--to", to]);
    assert_eq!((refused.status.code(), refused.stdout.len()), (Some(1), 0));
    let sentence = sentence(&refused);
    assert!(sentence.contains("the master of partition 3 is being swapped"), "{sentence}");
    assert!(sentence.contains("start the index"), "it says what to do: {sentence}");
    assert!(!Path::new(to).exists());
}

#[test]
fn flareis_map_goes_in_and_out_byte_for_byte() {
    let data = folder();
    let xml = data.path().join("flare.xml");
    fs::write(&xml, FLARE_XML).expect("there is room");
    let (xml, path) = (xml.to_str().unwrap(), data.path().to_str().unwrap());

    let refused = run(&["index", "--listen", "127.0.0.1:0", "--data-dir", path]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(sentence(&refused).contains("flare-operator import --from"), "never empty over it");

    let import = run(&["import", "--from", xml, "--data-dir", path, "--partition-size", "64"]);
    assert_eq!(import.status.code(), Some(0), "{}", sentence(&import));
    let export = run(&["export", "--data-dir", path]);
    assert_eq!(String::from_utf8_lossy(&export.stdout), FLARE_XML);

    let again = run(&["import", "--from", xml, "--data-dir", path]);
    assert_eq!(again.status.code(), Some(1));
    assert!(sentence(&again).contains("there is a stored map already"));

    let index = Index::start(data.path(), &[]);
    assert!(index.ask("meta").contains("META partition-size 64\r\n"));
    drop(index);
    let other = ["index", "--listen", "127.0.0.1:0", "--data-dir", path, "--partition-size", "65"];
    let refused = run(&other);
    assert!(sentence(&refused).contains("the cluster was made with 64"), "{}", sentence(&refused));
}
