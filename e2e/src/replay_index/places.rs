//! The named values that differ from recording to replay: the address that nodes have, the block
//! of ports, thread ids, and the counters and clocks of `stats`. Everything else is compared byte
//! for byte.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

/// The address that all parties have in the recordings.
const RECORDED_HOST: &str = "127.0.0.1";

/// The recordings use ports 12100 to 12199.
const RECORDED_PORTS: u16 = 12_100;

/// How many ports a replay needs in one block.
pub(super) const PORTS: u16 = 100;

/// Values of `stats` that no two runs share. What they look like is still checked.
const COUNTERS: [&str; 10] = [
    "pid",
    "uptime",
    "time",
    "curr_connections",
    "total_connections",
    "bytes_read",
    "bytes_written",
    "threads",
    "pool_threads",
    "curr_items",
];

/// Lines of `show variables` that name places of the recording machine.
const PATHS: [&str; 3] = ["config_path:", "pid_path:", "data_dir:"];

/// Where the replay's parties live. The ports of a recording keep their order, as a block of 100
/// ports of the same number of digits: the order of node keys is the order of the map.
#[derive(Debug, Clone, Copy)]
pub(super) struct Places {
    host: Ipv4Addr,
    base: u16,
}

impl Places {
    /// Parties at `host`; port 12100 of the recording becomes `base`, which has five digits.
    pub(super) fn new(host: Ipv4Addr, base: u16) -> Self {
        Self { host, base }
    }

    /// The address that stands for 127.0.0.1.
    pub(super) fn host(self) -> Ipv4Addr {
        self.host
    }

    /// The address that stands for 127.0.0.1 and a recorded port.
    pub(super) fn addr(self, recorded: u16) -> SocketAddr {
        SocketAddr::from((self.host, self.base + (recorded - RECORDED_PORTS)))
    }

    /// Recorded bytes, with the replay's address and ports.
    pub(super) fn translate(self, recorded: &[u8]) -> Vec<u8> {
        let host = self.host.to_string();
        let mut out = Vec::with_capacity(recorded.len());
        let mut rest = recorded;
        while let Some(&byte) = rest.first() {
            let in_number = out.last().is_some_and(u8::is_ascii_digit);
            if let Some(after) = rest.strip_prefix(RECORDED_HOST.as_bytes()) {
                out.extend_from_slice(host.as_bytes());
                rest = after;
            } else if let Some(port) = recorded_port(rest).filter(|_| !in_number) {
                let port = self.base + (port - RECORDED_PORTS);
                out.extend_from_slice(port.to_string().as_bytes());
                rest = &rest[5..];
            } else {
                out.push(byte);
                rest = &rest[1..];
            }
        }
        out
    }
}

/// A port of the recordings at the start of the text.
fn recorded_port(text: &[u8]) -> Option<u16> {
    let number: u16 = std::str::from_utf8(text.get(..5)?).ok()?.parse().ok()?;
    (RECORDED_PORTS..RECORDED_PORTS + PORTS).contains(&number).then_some(number)
}

/// The thread ids of a recording and what they are in this replay.
#[derive(Debug, Default, Clone)]
pub(super) struct Threads(BTreeMap<u64, u64>);

impl Threads {
    /// A recorded command, with this replay's thread id if it names one that was listed.
    pub(super) fn translate(&self, command: Vec<u8>) -> Vec<u8> {
        let text = String::from_utf8_lossy(&command);
        let id = text.strip_prefix("kill ").and_then(|rest| rest.trim_end().parse().ok());
        match id.and_then(|id: u64| self.0.get(&id)) {
            Some(here) => format!("kill {here}\r\n").into_bytes(),
            None => command,
        }
    }

    /// A client's connection ended: an index may give its thread id to another one.
    pub(super) fn forget(&mut self) {
        self.0.clear();
    }

    /// Whether the id stands for the recorded one: the first sight decides, later ones must agree.
    fn same(&mut self, recorded: u64, here: u64) -> bool {
        if let Some(known) = self.0.get(&recorded) {
            return *known == here;
        }
        let taken = self.0.values().any(|id| *id == here);
        self.0.insert(recorded, here);
        !taken
    }
}

/// Whether a line is the recorded one, up to named values. `recorded` is already translated.
pub(super) fn same_line(recorded: &[u8], here: &[u8], threads: &mut Threads) -> bool {
    if recorded == here {
        return true;
    }
    let (Ok(recorded), Ok(here)) = (std::str::from_utf8(recorded), std::str::from_utf8(here))
    else {
        return false;
    };
    if let Some(label) = PATHS.iter().find(|label| recorded.starts_with(**label)) {
        // the value begins where the recorded one begins
        let column = recorded.len() - recorded[label.len()..].trim_start_matches(' ').len();
        return here.len() >= column.min(26) && here.starts_with(label);
    }
    let (Some(recorded), Some(here)) = (stat(recorded), stat(here)) else { return false };
    if let (Some((id, field)), Some((id_here, field_here))) = (thread(recorded.0), thread(here.0)) {
        return field == field_here
            && threads.same(id, id_here)
            && same_thread_value(field, recorded.1, here.1);
    }
    recorded.0 == here.0
        && if recorded.0.starts_with("rusage_") {
            seconds(here.1)
        } else {
            COUNTERS.contains(&recorded.0) && number(here.1)
        }
}

/// Name and value of a STAT line with its line end.
fn stat(line: &str) -> Option<(&str, &str)> {
    line.strip_prefix("STAT ")?.strip_suffix("\r\n")?.split_once(' ')
}

/// Id and field of a line of `stats threads`.
fn thread(name: &str) -> Option<(u64, &str)> {
    let (id, field) = name.split_once(':')?;
    Some((id.parse().ok()?, field))
}

fn same_thread_value(field: &str, recorded: &str, here: &str) -> bool {
    match field {
        "uptime" => number(here),
        // a client's port is the kernel's choice; a node's is its identity, compared whole above
        "peer" if recorded != here => match (recorded.rsplit_once(':'), here.rsplit_once(':')) {
            (Some((host, port)), Some((host_here, port_here))) => {
                host == host_here && port.len() == 5 && port > "32767" && number(port_here)
            }
            _ => false,
        },
        _ => recorded == here,
    }
}

fn number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Seconds with six digits after the point, as flarei writes processor time.
fn seconds(text: &str) -> bool {
    text.split_once('.').is_some_and(|(s, micros)| number(s) && micros.len() == 6 && number(micros))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_and_ports_are_exchanged_and_nothing_else() {
        let places = Places::new(Ipv4Addr::new(127, 1, 2, 3), 20_000);
        let translate = |text: &str| String::from_utf8(places.translate(text.as_bytes())).unwrap();
        assert_eq!(translate("NODE 127.0.0.1 12121 2 0"), "NODE 127.1.2.3 20021 2 0");
        assert_eq!(translate("127.0.0.1:12199x"), "127.1.2.3:20099x");
        assert_eq!(translate("STAT time 1795371742 112121"), "STAT time 1795371742 112121");
    }

    #[test]
    fn counters_may_differ_and_words_may_not() {
        let mut threads = Threads::default();
        let mut same = |a: &str, b: &str| same_line(a.as_bytes(), b.as_bytes(), &mut threads);
        assert!(same("STAT pid 1\r\n", "STAT pid 22\r\n"));
        assert!(!same("STAT pid 1\r\n", "STAT pid x\r\n"));
        assert!(!same("STAT pid 1\r\n", "STAT pid 1\n"), "a line end is part of the line");
        assert!(!same("STAT evictions 0\r\n", "STAT evictions 1\r\n"));
        assert!(same("STAT rusage_user 0.012754\r\n", "STAT rusage_user 1.000000\r\n"));
        assert!(!same("STAT rusage_user 0.012754\r\n", "STAT rusage_user 1.0\r\n"));
        assert!(!same("OK\r\n", "ok\r\n"));
    }

    #[test]
    fn a_thread_keeps_its_id_and_no_two_share_one() {
        let mut threads = Threads::default();
        let mut same = |a: &str, b: &str| same_line(a.as_bytes(), b.as_bytes(), &mut threads);
        assert!(same("STAT 12:type 1\r\n", "STAT 7:type 1\r\n"));
        assert!(same("STAT 12:peer 127.0.0.1:59528\r\n", "STAT 7:peer 127.0.0.1:40001\r\n"));
        assert!(!same("STAT 12:op stats\r\n", "STAT 8:op stats\r\n"), "another id than before");
        assert!(!same("STAT 13:type 2\r\n", "STAT 7:type 2\r\n"), "taken by thread 12");
        assert!(!same("STAT 5:peer 127.0.0.1:12121\r\n", "STAT 5:peer 127.0.0.1:12122\r\n"));
        assert_eq!(threads.translate(b"kill 12\r\n".to_vec()), b"kill 7\r\n");
    }
}
