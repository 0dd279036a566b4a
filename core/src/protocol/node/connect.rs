//! A write of ours that makes the node connect to those that it passes writes on to, and its
//! deletion (flare-protocol.md 5.3, 5.4). The key expires if the deletion gets lost.
//!
//! ```text
//! [<flare-operator:0>]set SP <key> SP 0 SP 10 SP 0 SP async
//! (no bytes)
//! stats threads
//! -> one line, whatever it says
//!    what `stats threads` shows
//!
//! [<flare-operator:0>]delete SP <key> SP async
//! -> one line, whatever it says
//! ```
//!
//! They are apart, since a slave that does not know yet that it is one sends the write back: after
//! a deletion that would bring the key to life again.

use bytes::Bytes;

use crate::protocol::node::{NodeThreads, Reply, ReplyError, StatsThreads, stats_threads};
use crate::topology::ConnectingWrite;

/// How long the key lives if its deletion is lost, in seconds.
const EXPIRES_SECONDS: u32 = 10;

/// As if a node of this name had passed the write on.
const PROXIED: &str = "<flare-operator:0>";

/// The most lines that the write is answered with: a refused `set` leaves a data block, which is
/// then taken for a command (flare-protocol.md 2).
const ANSWERS_MAX: usize = 2;

fn prefix(write: &ConnectingWrite) -> &'static str {
    if write.proxied { PROXIED } else { "" }
}

/// The write and the question what came of it. The node answers without waiting for those that it
/// passes the write on to.
pub fn request(write: &ConnectingWrite) -> Bytes {
    let (prefix, key) = (prefix(write), &write.key);
    let set = format!("{prefix}set {key} 0 {EXPIRES_SECONDS} 0 async\r\n\r\n");
    [set.as_bytes(), stats_threads::REQUEST].concat().into()
}

/// The deletion of what [`request`] wrote.
pub fn forget(write: &ConnectingWrite) -> Bytes {
    format!("{}delete {} async\r\n", prefix(write), write.key).into()
}

/// The reply to [`request`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Connect {
    answers: usize,
    threads: StatsThreads,
}

impl Reply for Connect {
    type Value = NodeThreads;

    fn line(&mut self, line: &[u8]) -> Result<Option<NodeThreads>, ReplyError> {
        if line.starts_with(b"STAT ") || line == b"END" {
            return self.threads.line(line);
        }
        self.answers += 1;
        if self.answers > ANSWERS_MAX { Err(ReplyError::TooMany(ANSWERS_MAX)) } else { Ok(None) }
    }
}

/// The reply to [`forget`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Forget;

impl Reply for Forget {
    type Value = ();

    fn line(&mut self, _: &[u8]) -> Result<Option<()>, ReplyError> {
        Ok(Some(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_the_write_is_answered_what_the_node_shows_is_read() {
        let write = ConnectingWrite { key: "k".to_owned(), proxied: true };
        let sent = "<flare-operator:0>set k 0 10 0 async\r\n\r\nstats threads\r\n";
        assert_eq!(request(&write), sent);
        assert_eq!(forget(&write), "<flare-operator:0>delete k async\r\n");
        let read = |answers: &str| {
            let mut reply = Connect::default();
            let lines = "STAT 7:type 17\nSTAT 7:queue 0\nSTAT 7:state wait\nEND";
            let text = format!("{answers}{lines}");
            text.lines().find_map(|line| reply.line(line.as_bytes()).transpose())
        };
        for answers in ["STORED\n", "ERROR\nERROR\n", "SERVER_ERROR x\n"] {
            let shown = read(answers).expect("an end").expect("an answer");
            assert_eq!(shown.of_kind(17).threads, 1, "{answers}");
        }
        assert!(read("ERROR\nERROR\nERROR\n").expect("an end").is_err());
    }
}
