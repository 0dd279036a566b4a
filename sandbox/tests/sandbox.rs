//! The sandbox as a newcomer meets it: one command, the lines that it prints, the page's buttons,
//! Ctrl-C; and nothing is left, whatever ended it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// For everything together: processes start slowly on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

const PROGRAM: &str = env!("CARGO_BIN_EXE_flare-sandbox");

/// Waits until `look` finds something.
fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// In memory, where that can be: on a disk that others write to, a sync of the index can take
/// longer than a node waits for it.
fn roomy() -> PathBuf {
    let memory = PathBuf::from("/dev/shm");
    if memory.is_dir() { memory } else { std::env::temp_dir() }
}

/// A sandbox that writes below a folder of ours, which names its processes too.
struct Sandbox {
    child: Child,
    scratch: tempfile::TempDir,
    lines: mpsc::Receiver<String>,
    seen: Vec<String>,
}

impl Sandbox {
    fn start(command: &mut Command) -> Self {
        let scratch = tempfile::tempdir_in(roomy()).expect("a scratch folder");
        command.env("TMPDIR", scratch.path());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program is built");
        let stdout = child.stdout.take().expect("it is piped");
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, scratch, lines, seen: Vec::new() }
    }

    fn with(arguments: &[&str]) -> Self {
        let free = ["--no-open", "--index-port", "0", "--page-port", "0", "--node-port", "0"];
        Self::start(Command::new(PROGRAM).args(free).args(arguments))
    }

    /// Waits for a line that contains this.
    fn says(&mut self, what: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(line) = self.seen.iter().find(|line| line.contains(what)) {
                return line.clone();
            }
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => self.seen.push(line),
                Err(_) => panic!("it never said `{what}`; stderr: {}", self.complaint()),
            }
        }
    }

    fn complaint(&mut self) -> String {
        let _ = self.child.kill();
        let mut text = String::new();
        if let Some(mut stderr) = self.child.stderr.take() {
            let _ = stderr.read_to_string(&mut text);
        }
        text
    }

    fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &id]).status();
        assert!(sent.expect("kill is a program").success());
    }

    fn ends(&mut self) -> ExitStatus {
        eventually("its end", || self.child.try_wait().expect("a child of ours"))
    }

    /// No process and no file of it is left.
    fn left_nothing(&self) {
        eventually("its last process to end", || {
            processes_naming(self.scratch.path()).is_empty().then_some(())
        });
        // Its files go last of all, and a sandbox whose shell died is nobody's child to wait for.
        eventually("its last file to go", || {
            let mut left = std::fs::read_dir(self.scratch.path()).expect("our folder");
            left.next().is_none().then_some(())
        });
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        // After a failed assertion; the kernel ends its children with it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The processes whose command line names this folder, zombies not counted.
fn processes_naming(folder: &Path) -> Vec<String> {
    let folder = folder.to_string_lossy().into_owned();
    let entries = std::fs::read_dir("/proc").expect("Linux").flatten();
    entries
        .filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok())
        .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
        .filter(|line| line.contains(&folder))
        .collect()
}

fn address(text: &str) -> SocketAddr {
    let start = text.find("127.0.0.1:").expect("an address");
    let rest = &text[start..];
    let end = rest.find(|c: char| !c.is_ascii_digit() && !".:".contains(c)).unwrap_or(rest.len());
    rest[..end].parse().expect("an address")
}

/// Sends a request that makes the other side close; all that it answers.
fn talk(to: SocketAddr, request: &str) -> Option<String> {
    let mut stream = TcpStream::connect(to).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

fn http(page: SocketAddr, method: &str, path: &str, body: &str) -> String {
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {page}\r\nX-Flare-Admin: 1\r\n\
         Content-Type: application/json\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n{body}"
    );
    let answer = talk(page, &request).expect("the page answers");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    answer
}

fn master_of(index: SocketAddr, partition: i32) -> Option<SocketAddr> {
    let listing = talk(index, "stats nodes\r\nquit\r\n")?;
    let has = |key: &str, what: &str| listing.contains(&format!("STAT {key}:{what}\r\n"));
    let keys = listing
        .lines()
        .filter_map(|line| line.strip_prefix("STAT ")?.split_once(":role ").map(|(key, _)| key));
    keys.into_iter()
        .find(|key| {
            has(key, "role master")
                && has(key, "state active")
                && has(key, &format!("partition {partition}"))
        })
        .map(|key| key.parse().expect("nodes are named by address"))
}

#[test]
fn a_master_is_killed_on_the_page_and_every_key_stays_readable() {
    let mut sandbox = Sandbox::with(&["--nodes", "5"]);
    sandbox.says("Ctrl-C ends everything");
    let page = address(&sandbox.says("The page:"));
    let index = address(&sandbox.says("The index:"));

    // The lines to try do what they say.
    let mut answers = String::new();
    for line in sandbox.seen.iter().filter(|line| line.contains("printf")) {
        let output = Command::new("sh").args(["-c", line]).output().expect("a shell");
        answers.push_str(&String::from_utf8_lossy(&output.stdout));
    }
    assert!(answers.contains("STORED\r\n"), "{answers}");
    assert!(answers.contains("VALUE hello 0 5\r\nworld\r\n"), "{answers}");
    assert!(answers.contains(":role master\r\n"), "{answers}");

    let old = master_of(index, 1).expect("partition 1 has a master");
    let mut request = String::new();
    for key in 0..50 {
        request.push_str(&format!("set key{key} 0 0 5 sync\r\nvalue\r\n"));
    }
    let stored = talk(old, &(request + "quit\r\n")).expect("the master answers");
    assert_eq!(stored, "STORED\r\n".repeat(50));

    http(page, "POST", "/api/v1/sandbox/kill", &format!("{{\"node\":\"{old}\"}}"));
    let new = eventually("a slave to take over", || master_of(index, 1).filter(|new| *new != old));
    sandbox.says(&format!("{new}  slave active, partition 1 -> master active, partition 1"));
    assert!(http(page, "GET", "/api/v1/sandbox", "").contains("dead"));
    for key in 0..50 {
        let answer = talk(new, &format!("get key{key}\r\nquit\r\n")).expect("the master answers");
        assert_eq!(answer, format!("VALUE key{key} 0 5\r\nvalue\r\nEND\r\n"));
    }

    // Back it comes, and one can be frozen when all ends.
    http(page, "POST", "/api/v1/sandbox/revive", &format!("{{\"node\":\"{old}\"}}"));
    http(page, "POST", "/api/v1/sandbox/add", "");
    http(page, "POST", "/api/v1/sandbox/freeze", &format!("{{\"node\":\"{new}\"}}"));
    sandbox.signal("INT");
    assert!(sandbox.ends().success());
    sandbox.left_nothing();
}

#[test]
fn nothing_is_left_when_its_shell_dies() {
    let free = "--no-open --index-port 0 --page-port 0 --node-port 0 --partitions 1 --replicas 1";
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("{PROGRAM} {free}; true")]);
    let mut sandbox = Sandbox::start(&mut shell);
    sandbox.says("Ctrl-C ends everything");
    sandbox.signal("KILL");
    sandbox.ends();
    sandbox.left_nothing();
}

#[test]
fn nothing_is_left_when_a_port_is_taken() {
    let other = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = other.local_addr().expect("it is bound").port().to_string();
    let mut sandbox = Sandbox::start(Command::new(PROGRAM).args([
        "--no-open",
        "--index-port",
        &port,
        "--page-port",
        "0",
        "--node-port",
        "0",
    ]));
    assert_eq!(sandbox.ends().code(), Some(1));
    let complaint = sandbox.complaint();
    assert!(complaint.contains(&format!("port {port}, meant for the index, is taken")));
    sandbox.left_nothing();
}
