//! The same requests to upstream's flared and to the stand-in, side by side: whatever differs is
//! for the stand-in to mend. `FLARE_REAL_FLARED` names upstream's program, which is not part of
//! this repository; so these tests run only with `--ignored` or `--include-ignored`.

mod scripts;
#[path = "../node_replay/shape.rs"]
mod shape;

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use flare_e2e::suite::damage::damage_flared;
use scripts::{DAMAGED, SCRIPTS, WAIT};

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(20);
/// Ends every exchange: its answer cannot be that of another request.
const MARK: &str = "VERSION flare-1.3.4\r\n";

const META: &str = "META partition-size 1024\r\nMETA key-hash-algorithm simple\r\n\
                    META partition-type modular\r\nMETA partition-modular-hint 1\r\n\
                    META partition-modular-virtual 4096\r\nEND\r\n";

/// A node's process, ended with the test.
struct Program {
    child: Child,
    port: u16,
    data: tempfile::TempDir,
}

impl Drop for Program {
    fn drop(&mut self) {
        // it may have ended by itself
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Program {
    fn start(program: &Path, first: &[&str], port: u16, index: u16) -> Self {
        let data = tempfile::tempdir().expect("a scratch folder");
        let (pid, folder) = (data.path().join("pid"), data.path().display().to_string());
        let child = Command::new(program)
            .args(first)
            .args(["--stderr", "--pid", &pid.display().to_string(), "--data-dir", &folder])
            .args(["--server-name", "127.0.0.1", "--server-port", &port.to_string()])
            .args(["--index-servers", &format!("127.0.0.1:{index}")])
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", program.display()));
        Self { child, port, data }
    }

    fn connect(&self) -> BufReader<TcpStream> {
        connect(self.port)
    }
}

/// As soon as somebody listens there.
fn connect(port: u16) -> BufReader<TcpStream> {
    let end = Instant::now() + PATIENCE;
    loop {
        match TcpStream::connect((Ipv4Addr::LOCALHOST, port)) {
            Ok(stream) => {
                stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
                return BufReader::new(stream);
            }
            Err(error) => assert!(Instant::now() < end, "no connection: {error}"),
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Everything that a request is answered with.
fn ask(connection: &mut BufReader<TcpStream>, request: &str) -> Vec<Vec<u8>> {
    let text = format!("{request}\r\nversion\r\n");
    connection.get_mut().write_all(text.as_bytes()).expect("a request taken");
    let mut lines = Vec::new();
    loop {
        let mut line = Vec::new();
        let read = connection.read_until(b'\n', &mut line);
        read.unwrap_or_else(|error| panic!("{request:?}: {error}"));
        if line.is_empty() || line == MARK.as_bytes() {
            return lines;
        }
        lines.push(line);
    }
}

/// An index with one master, for as many nodes as come.
fn serve_index(listener: &TcpListener, port: u16) {
    for stream in listener.incoming().flatten() {
        let mut stream = BufReader::new(stream);
        let mut line = String::new();
        while stream.read_line(&mut line).is_ok_and(|length| length > 0) {
            let answer = match line.trim_end() {
                "meta" => META.to_owned(),
                add if add.starts_with("node add") => {
                    format!("NODE 127.0.0.1 {port} 0 0 0 1 16\r\nEND\r\n")
                }
                _ => "OK\r\n".to_owned(),
            };
            if stream.get_mut().write_all(answer.as_bytes()).is_err() {
                break;
            }
            line.clear();
        }
    }
}

/// On a port below those that outgoing connections take: one that waits for the node could
/// otherwise connect to itself.
fn free_listener() -> TcpListener {
    let mut ports = std::iter::repeat_with(|| rand::random_range(20_000..32_000));
    let listener = ports.find_map(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok());
    listener.expect("the ports do not end")
}

fn run(node: &Program) -> Vec<Vec<Vec<u8>>> {
    let mut answers = Vec::new();
    for script in SCRIPTS {
        let mut connection = node.connect();
        for request in *script {
            if *request == WAIT {
                // both clocks have to tick twice
                std::thread::sleep(Duration::from_millis(2100));
            } else {
                answers.push(ask(&mut connection, request));
            }
        }
        ask(&mut connection, "flush_all");
    }
    answers
}

/// Upstream's program.
fn real() -> PathBuf {
    let path = std::env::var_os("FLARE_REAL_FLARED");
    path.expect("FLARE_REAL_FLARED names upstream's flared").into()
}

/// An index, the stand-in's program, and a port for both nodes: one after the other under one name,
/// so that the name need not be taken out of the answers.
fn stage() -> (u16, &'static Path, u16) {
    let index = free_listener();
    let index_port = index.local_addr().expect("a port").port();
    let port = free_listener().local_addr().expect("a port").port();
    std::thread::spawn(move || serve_index(&index, port));
    (index_port, Path::new(env!("CARGO_BIN_EXE_flare-e2e")), port)
}

/// What was answered differently, in words.
fn differences<'a>(
    requests: impl Iterator<Item = &'a &'a str>,
    real: &[Vec<Vec<u8>>],
    ours: &[Vec<Vec<u8>>],
) -> String {
    let text = |lines: &[Vec<u8>]| String::from_utf8_lossy(&lines.concat()).into_owned();
    let all = requests.zip(real).zip(ours).filter(|((_, real), ours)| !same(real, ours));
    let told = all.map(|((request, real), ours)| {
        format!("{request:?}\n  {:?}\n  {:?}\n", text(real), text(ours))
    });
    told.collect()
}

fn same(real: &[Vec<u8>], ours: &[Vec<u8>]) -> bool {
    let equal = |(real, ours): (&Vec<u8>, &Vec<u8>)| shape::matches(real, ours);
    real.len() == ours.len() && real.iter().zip(ours).all(equal)
}

#[test]
#[ignore = "needs upstream's flared"]
fn both_programs_answer_alike() {
    let (index, stand_in, port) = stage();
    let expected = run(&Program::start(&real(), &[], port, index));
    let seen = run(&Program::start(stand_in, &["node"], port, index));
    let requests = SCRIPTS.iter().flat_map(|script| script.iter()).filter(|r| **r != WAIT);
    let different = differences(requests, &expected, &seen);
    assert!(different.is_empty(), "request, upstream, stand-in:\n{different}");
    assert!(expected.len() > 150, "all scripts were played");
}

/// The answers before and after the record of one key is damaged. Upstream's dumps have all other
/// keys then, and end with `END` or as cancelled, by what their thread did before: that is left
/// out.
fn damaged(node: &Program, damage: impl FnOnce(&Program)) -> Vec<Vec<Vec<u8>>> {
    let mut connection = node.connect();
    let mut ask = |request: &&str| {
        let mut lines = ask(&mut connection, request);
        lines.truncate(lines.len() - usize::from(request.starts_with("dump")));
        lines
    };
    let (before, after) = DAMAGED;
    let mut answers: Vec<_> = before.iter().map(&mut ask).collect();
    damage(node);
    answers.extend(after.iter().map(ask));
    answers
}

#[test]
#[ignore = "needs upstream's flared"]
fn both_programs_bear_damage_alike() {
    let (index, stand_in, port) = stage();
    let expected = damaged(&Program::start(&real(), &[], port, index), |node| {
        damage_flared(node.data.path(), "bad").expect("a record");
    });
    let control = free_listener().local_addr().unwrap().port();
    let ours = ["node", "--control", &control.to_string()];
    let seen = damaged(&Program::start(stand_in, &ours, port, index), |_| {
        let mut control = connect(control);
        control.get_mut().write_all(b"storage damage bad\n").expect("an order taken");
        let mut answer = String::new();
        control.read_line(&mut answer).expect("an answer");
        assert_eq!(answer, "OK\n");
    });
    let requests = DAMAGED.0.iter().chain(DAMAGED.1);
    let different = differences(requests, &expected, &seen);
    assert!(different.is_empty(), "request, upstream, stand-in:\n{different}");
    let sick = b"SERVER_ERROR storage error\r\n".to_vec();
    assert!(expected.contains(&vec![sick]), "it is never sick");
}
