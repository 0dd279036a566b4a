//! A network of the suites' own, in which packets can be made to vanish or be answered with a
//! reset: a network namespace around the whole run, with `nft` rules for single programs.
//!
//! Every program under test runs in a group whose number is its port. So a rule can tell whose
//! packets it means, in both directions, while the programs are what they always are. Needs root
//! and nft; without them the tests that cut connections are skipped, and say so.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, ensure};

use super::runner::skip;

/// Tells the program, when it has begun again inside, that it is there.
const INSIDE: &str = "FLARE_E2E_OWN_NETWORK";

/// Brings the loopback interface of a new namespace up, and shows that rules can be made.
const PREPARE: &str = "ip link set lo up && nft list tables >/dev/null";

/// The number of the next table of rules; tables of tests that run at once must differ.
static NEXT_TABLE: AtomicU32 = AtomicU32::new(0);

/// Begins this program again in a network namespace of its own, if that can be made here. Returns
/// where it cannot, or where it is inside already. Call it before any thread is started.
///
/// # Errors
/// The namespace could be made a moment ago, but not now.
pub fn enter_own() -> Result<()> {
    if is_own() || !can_be_made() {
        return Ok(());
    }
    let me = std::env::current_exe().context("cannot tell where this program is")?;
    let inside = format!(r#"{PREPARE} && exec "$@""#);
    let error = Command::new("unshare")
        .args(["--net", "sh", "-c", &inside, "sh"])
        .arg(me)
        .args(std::env::args_os().skip(1))
        .env(INSIDE, "1")
        .exec();
    Err(error).context("cannot begin again in a network of its own")
}

fn can_be_made() -> bool {
    let tried = Command::new("unshare")
        .args(["--net", "sh", "-c", PREPARE])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    tried.is_ok_and(|status| status.success())
}

/// Whether this run has a network of its own.
pub fn is_own() -> bool {
    std::env::var_os(INSIDE).is_some()
}

/// Ends the test as skipped where connections cannot be cut.
pub fn require_own() -> Result<()> {
    if is_own() { Ok(()) } else { skip("needs root and nft, to cut connections") }
}

/// What happens to packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// They vanish without a word, as behind a cut cable.
    Vanish,
    /// Whoever sends one gets a reset.
    Reset,
}

impl Verdict {
    fn words(self) -> &'static str {
        match self {
            Self::Vanish => "drop",
            Self::Reset => "reject with tcp reset",
        }
    }
}

/// Rules in force until they are healed, or dropped.
#[derive(Debug)]
pub struct Cut {
    table: Option<String>,
}

impl Cut {
    /// Everything from and to the program on this port.
    pub fn around(port: u16, verdict: Verdict) -> Result<Self> {
        let to = format!("tcp dport {port}");
        let from = format!("tcp sport {port}");
        // its own requests to others: sent by its group, from any port
        let by = format!("meta skgid {port} meta l4proto tcp");
        Self::of(&[&to, &from, &by], verdict)
    }

    /// What the program on port `from` sends to the one on port `to`, and the answers.
    pub fn between(from: u16, to: u16, verdict: Verdict) -> Result<Self> {
        Self::of(&[&format!("meta skgid {from} tcp dport {to}")], verdict)
    }

    /// What is sent to port `to` on connections that come from these ports. Later ones come from
    /// others.
    pub fn connections(from: &BTreeSet<u16>, to: u16, verdict: Verdict) -> Result<Self> {
        let from: Vec<String> = from.iter().map(u16::to_string).collect();
        Self::of(&[&format!("tcp sport {{ {} }} tcp dport {to}", from.join(", "))], verdict)
    }

    /// Connections that these programs begin to a port that the system chose. Of all servers only a
    /// relay listens on such a one.
    pub fn to_relays(from: impl Iterator<Item = u16>, verdict: Verdict) -> Result<Self> {
        let begun = "tcp dport >= 32768 tcp flags & (syn | ack) == syn";
        let rules: Vec<String> = from.map(|port| format!("meta skgid {port} {begun}")).collect();
        Self::of(&rules.iter().map(String::as_str).collect::<Vec<_>>(), verdict)
    }

    fn of(matches: &[&str], verdict: Verdict) -> Result<Self> {
        require_own()?;
        let table = format!("cut{}", NEXT_TABLE.fetch_add(1, Ordering::Relaxed));
        let rules: String = matches
            .iter()
            .map(|what| format!("add rule ip {table} out {what} {}\n", verdict.words()))
            .collect();
        nft(&format!(
            "add table ip {table}\n\
             add chain ip {table} out {{ type filter hook output priority 0; }}\n{rules}"
        ))?;
        Ok(Self { table: Some(table) })
    }

    /// Takes the rules back.
    pub fn heal(mut self) -> Result<()> {
        self.table.take().map_or(Ok(()), |table| nft(&format!("delete table ip {table}\n")))
    }
}

impl Drop for Cut {
    fn drop(&mut self) {
        if let Some(table) = self.table.take() {
            // the namespace ends with the run, and the rules with it
            nft(&format!("delete table ip {table}\n")).ok();
        }
    }
}

/// The ports from which a process is connected to port `to` of this machine.
///
/// # Errors
/// The process has ended, or is not ours to look into.
pub fn connected_from(process: i32, to: u16) -> Result<BTreeSet<u16>> {
    let mut sockets = BTreeSet::new();
    for entry in fs::read_dir(format!("/proc/{process}/fd"))? {
        // it may have been closed since the folder was listed
        let Ok(target) = fs::read_link(entry?.path()) else { continue };
        let target = target.to_string_lossy();
        let inode = target.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']'));
        sockets.extend(inode.map(str::to_owned));
    }
    let table = fs::read_to_string(format!("/proc/{process}/net/tcp"))?;
    Ok(table.lines().filter_map(|line| established(line, to, &sockets)).collect())
}

/// The local port in a line of /proc/net/tcp, if it is one of these sockets, connected to `to`.
fn established(line: &str, to: u16, sockets: &BTreeSet<String>) -> Option<u16> {
    const ESTABLISHED: &str = "01";
    let words: Vec<&str> = line.split_whitespace().collect();
    let [_, local, remote, state, _, _, _, _, _, inode, ..] = words[..] else { return None };
    let port = |end: &str| u16::from_str_radix(end.split_once(':')?.1, 16).ok();
    let meant = state == ESTABLISHED && port(remote) == Some(to) && sockets.contains(inode);
    meant.then(|| port(local)).flatten()
}

fn nft(script: &str) -> Result<()> {
    let mut nft = Command::new("nft")
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot start nft")?;
    // taken, so that it is closed and nft sees the end
    nft.stdin.take().context("nft takes no input")?.write_all(script.as_bytes())?;
    let ended = nft.wait_with_output().context("cannot wait for nft")?;
    let said = String::from_utf8_lossy(&ended.stderr);
    ensure!(ended.status.success(), "nft refuses\n{script}with {said}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn connections_of_a_process_are_found_by_where_they_lead() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let me = i32::try_from(std::process::id()).expect("a process number");
        assert_eq!(connected_from(me, address.port()).unwrap(), BTreeSet::new());
        let both = [1, 2].map(|_| TcpStream::connect(address).expect("it listens"));
        let ports = both.iter().map(|stream| stream.local_addr().expect("connected").port());
        assert_eq!(connected_from(me, address.port()).unwrap(), ports.collect());
    }
}
