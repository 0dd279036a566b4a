//! Reads of ours that make the node connect to one that it reads from, now and then by chance
//! (flare-protocol.md 5.2), and the question whether it has.
//!
//! ```text
//! get SP <key> SP <key> ...
//! stats threads
//! -> what the reads found, until END; or an error line
//!    what `stats threads` shows
//! ```
//!
//! The same key again and again: the node chooses for each anew. It is one that nobody writes.

use bytes::Bytes;

use crate::protocol::node::{NodeThreads, Reply, ReplyError, StatsThreads, stats_threads};

/// How often one request reads the key. Each costs the nodes some 25 microseconds, or a multiple
/// on a busy machine; the first that reaches the wanted node is enough.
pub const READS: usize = 200;

/// The most lines before the reads end: three for each, were the key written.
const LINES_MAX: usize = 3 * READS;

/// The reads, and the question what came of them.
pub fn request(key: &str) -> Bytes {
    let mut request = String::from("get");
    for _ in 0..READS {
        request.push(' ');
        request.push_str(key);
    }
    request.push_str("\r\n");
    [request.as_bytes(), stats_threads::REQUEST].concat().into()
}

/// The reply to [`request`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Introduce {
    lines: usize,
    read: bool,
    threads: StatsThreads,
}

impl Reply for Introduce {
    type Value = NodeThreads;

    fn line(&mut self, line: &[u8]) -> Result<Option<NodeThreads>, ReplyError> {
        if self.read {
            return self.threads.line(line);
        }
        self.lines += 1;
        if self.lines > LINES_MAX {
            return Err(ReplyError::TooMany(LINES_MAX));
        }
        let refused = matches!(ReplyError::of(line), ReplyError::Refused(_));
        self.read = line == b"END" || refused;
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_the_reads_find_what_the_node_shows_is_read() {
        let sent = String::from_utf8(request("k").to_vec()).expect("text");
        assert!(sent.starts_with("get k k k"), "{sent}");
        assert!(sent.ends_with(" k\r\nstats threads\r\n"), "{sent}");
        assert_eq!(sent.matches(" k").count(), READS);
        for found in ["END\n", "VALUE k 0 3\nabc\nEND\n", "SERVER_ERROR proxy failure\n"] {
            let mut reply = Introduce::default();
            let lines = "STAT 7:type 17\nSTAT 7:queue 0\nSTAT 7:state wait\nEND";
            let text = format!("{found}{lines}");
            let read = text.lines().find_map(|line| reply.line(line.as_bytes()).transpose());
            let shown = read.expect("an end").expect("an answer");
            assert_eq!(shown.of_kind(17).threads, 1, "{found}");
        }
        let mut reply = Introduce::default();
        let endless = (0..=LINES_MAX).find_map(|_| reply.line(b"x").err());
        assert_eq!(endless, Some(ReplyError::TooMany(LINES_MAX)));
    }
}
