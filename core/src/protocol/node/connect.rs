//! A request of ours that makes the node connect to those that it passes it on to: a write and
//! its deletion (flare-protocol.md 5.3, 5.4), or reads (5.2). A key that was written expires if the
//! deletion gets lost.
//!
//! ```text
//! [<flare-operator:0>]set SP <key> SP 0 SP 10 SP 0 SP async
//! (no bytes)
//! stats threads
//! -> one line, whatever it says
//!    what `stats threads` shows
//!
//! get SP <key> SP <key> …
//! stats threads
//! -> END, values before it if there are any
//!    what `stats threads` shows
//!
//! [<flare-operator:0>]delete SP <key> SP async
//! -> one line, whatever it says
//! ```
//!
//! The write and its deletion are apart, since a slave that does not know yet that it is one sends
//! the write back: after a deletion that would bring the key to life again.

use bytes::Bytes;

use crate::protocol::node::{NodeThreads, Reply, ReplyError, StatsThreads, stats_threads};
use crate::topology::{ConnectingHow, ConnectingRequest};

/// How long the key lives if its deletion is lost, in seconds.
const EXPIRES_SECONDS: u32 = 10;

/// As if a node of this name had passed the write on.
const PROXIED: &str = "<flare-operator:0>";

/// The most keys in one request; their names make up a line of some kilobytes. Each costs the
/// nodes some 25 microseconds.
pub const READS_MAX: u32 = 200;

/// The most lines before those of `stats threads`: of each key that is read a line and its data,
/// and the end. A refused `set` has two, since it leaves a data block that is then taken for a
/// command (flare-protocol.md 2).
const ANSWERS_MAX: usize = 2 * READS_MAX as usize + 1;

fn prefix(how: ConnectingHow) -> &'static str {
    if how == ConnectingHow::WriteAsNode { PROXIED } else { "" }
}

/// The write or the reads, and the question what came of it. The node answers a write without
/// waiting for those that it passes it on to, and reads when they have answered.
pub fn request(asked: &ConnectingRequest) -> Bytes {
    let key = &asked.key;
    let first = match asked.how {
        ConnectingHow::Read(times) => {
            let keys = format!(" {key}").repeat(times.clamp(1, READS_MAX) as usize);
            format!("get{keys}\r\n")
        }
        how => format!("{}set {key} 0 {EXPIRES_SECONDS} 0 async\r\n\r\n", prefix(how)),
    };
    [first.as_bytes(), stats_threads::REQUEST].concat().into()
}

/// The deletion of what [`request`] wrote.
pub fn forget(asked: &ConnectingRequest) -> Bytes {
    format!("{}delete {} async\r\n", prefix(asked.how), asked.key).into()
}

/// The reply to [`request`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Connect {
    answers: usize,
    /// Has the answer to `stats threads` begun? It begins with the thread that answers.
    shows: bool,
    threads: StatsThreads,
}

impl Reply for Connect {
    type Value = NodeThreads;

    fn line(&mut self, line: &[u8]) -> Result<Option<NodeThreads>, ReplyError> {
        self.shows |= line.starts_with(b"STAT ");
        if self.shows {
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
    fn reads_are_one_request_of_bounded_length() {
        let ask = |times| {
            let how = ConnectingHow::Read(times);
            request(&ConnectingRequest { key: "k".to_owned(), how })
        };
        assert_eq!(ask(3), "get k k k\r\nstats threads\r\n");
        assert_eq!(ask(0), "get k\r\nstats threads\r\n");
        assert_eq!(ask(u32::MAX), ask(READS_MAX));
    }

    #[test]
    fn whatever_the_write_is_answered_what_the_node_shows_is_read() {
        let write = ConnectingRequest { key: "k".to_owned(), how: ConnectingHow::WriteAsNode };
        let sent = "<flare-operator:0>set k 0 10 0 async\r\n\r\nstats threads\r\n";
        assert_eq!(request(&write), sent);
        assert_eq!(forget(&write), "<flare-operator:0>delete k async\r\n");
        let read = |answers: &str| {
            let mut reply = Connect::default();
            let lines = "STAT 7:type 17\nSTAT 7:queue 0\nSTAT 7:state wait\nEND";
            let text = format!("{answers}{lines}");
            text.lines().find_map(|line| reply.line(line.as_bytes()).transpose())
        };
        let (none, found) = ("END\n", "VALUE k 0 0\n\nVALUE k 0 0\n\nEND\n");
        let all_found = format!("{}END\n", "VALUE k 0 0\n\n".repeat(READS_MAX as usize));
        for answers in ["STORED\n", "ERROR\nERROR\n", "SERVER_ERROR x\n", none, found, &*all_found]
        {
            let shown = read(answers).expect("an end").expect("an answer");
            assert_eq!(shown.of_kind(17).threads, 1, "{answers}");
        }
        assert!(read(&"ERROR\n".repeat(ANSWERS_MAX + 1)).expect("an end").is_err());
    }
}
