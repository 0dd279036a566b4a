//! `stats threads`, for requests to other nodes that wait for their answers (flare-protocol.md
//! 4.9).
//!
//! ```text
//! stats threads
//! -> STAT <id>:type <n>
//!    STAT <id>:state wait|execute|connect|killed
//!    STAT <id>:behind <s>
//!    … (eight lines per thread, of which these are wanted)
//!    END
//! ```

use crate::protocol::node::stats_threads::thread_line;
use crate::protocol::node::{Reply, ReplyError, number};

/// A connection to another node on which a request is under way and others wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct WaitingThread {
    /// What `kill` takes.
    pub thread: u32,
    /// The thread type of the node that it leads to.
    pub towards: u32,
    /// For how long the first of those that wait has waited, in seconds.
    pub behind: u64,
}

/// The reply to [`super::stats_threads::REQUEST`]: connections on which anybody waits.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WaitingThreads {
    lines: usize,
    thread: Option<(u32, u32, bool)>,
    found: Vec<WaitingThread>,
}

impl Reply for WaitingThreads {
    type Value = Vec<WaitingThread>;

    fn line(&mut self, line: &[u8]) -> Result<Option<Self::Value>, ReplyError> {
        if line == b"END" {
            return Ok(Some(std::mem::take(&mut self.found)));
        }
        let (id, field): (u32, _) = thread_line(line, &mut self.lines)?;
        if let Some(kind) = field.strip_prefix(b"type ") {
            self.thread = Some((id, number(kind, line)?, false));
            return Ok(None);
        }
        let Some((thread, towards, busy)) = self.thread.as_mut().filter(|(it, ..)| *it == id)
        else {
            return Err(ReplyError::of(line));
        };
        if let Some(state) = field.strip_prefix(b"state ") {
            *busy = state != b"wait";
        } else if let Some(behind) = field.strip_prefix(b"behind ") {
            let behind = number(behind, line)?;
            if *busy && behind > 0 {
                self.found.push(WaitingThread { thread: *thread, towards: *towards, behind });
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_connections_on_which_somebody_waits_are_found() {
        let mut reply = WaitingThreads::default();
        for (id, kind, state, behind) in
            [(5, 16, "execute", 3), (6, 16, "wait", 3), (7, 17, "killed", 2), (8, 17, "execute", 0)]
        {
            for line in [
                format!("STAT {id}:type {kind}"),
                format!("STAT {id}:peer 127.0.0.1:1"),
                format!("STAT {id}:state {state}"),
                format!("STAT {id}:queue 1"),
                format!("STAT {id}:behind {behind}"),
            ] {
                assert_eq!(reply.line(line.as_bytes()).expect("a line of it"), None);
            }
        }
        let answer = reply.line(b"END").expect("its end");
        let waiting = |thread, towards, behind| WaitingThread { thread, towards, behind };
        assert_eq!(answer, Some(vec![waiting(5, 16, 3), waiting(7, 17, 2)]));
        assert!(WaitingThreads::default().line(b"STAT 5:state wait").is_err());
    }
}
