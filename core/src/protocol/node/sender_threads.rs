//! `stats threads`, for the node's connections to other nodes (flare-protocol.md 4.9, 5.4).
//!
//! ```text
//! stats threads
//! -> STAT <id>:type <n>
//!    STAT <id>:state setup|connect|wait|execute|killed
//!    STAT <id>:queue <n>
//!    STAT <id>:behind <s>
//!    … (eight lines per thread, of which these are wanted)
//!    END
//! ```

use crate::model::FIRST_THREAD_TYPE;
use crate::protocol::node::stats_threads::thread_line;
use crate::protocol::node::{Reply, ReplyError, number};

/// A connection to another node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SenderThread {
    /// What `kill` takes.
    pub thread: u32,
    /// The thread type of the node that it leads to.
    pub towards: u32,
    /// It is at no request, nor at being made.
    pub waits: bool,
    /// How many requests wait for it.
    pub queued: u64,
    /// For how long the first of those has waited, in seconds.
    pub behind: u64,
}

/// The reply to [`super::stats_threads::REQUEST`]: all connections to other nodes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SenderThreads {
    lines: usize,
    /// The thread that the lines are about, and whether it is one of these.
    thread: Option<(u32, bool)>,
    found: Vec<SenderThread>,
}

impl Reply for SenderThreads {
    type Value = Vec<SenderThread>;

    fn line(&mut self, line: &[u8]) -> Result<Option<Self::Value>, ReplyError> {
        if line == b"END" {
            return Ok(Some(std::mem::take(&mut self.found)));
        }
        let (id, field): (u32, _) = thread_line(line, &mut self.lines)?;
        if let Some(kind) = field.strip_prefix(b"type ") {
            let towards: u32 = number(kind, line)?;
            let sends = towards >= FIRST_THREAD_TYPE;
            self.thread = Some((id, sends));
            if sends {
                let sender =
                    SenderThread { thread: id, towards, waits: false, queued: 0, behind: 0 };
                self.found.push(sender);
            }
            return Ok(None);
        }
        let Some((_, sends)) = self.thread.filter(|(thread, _)| *thread == id) else {
            return Err(ReplyError::of(line));
        };
        let Some(sender) = self.found.last_mut().filter(|_| sends) else { return Ok(None) };
        if let Some(state) = field.strip_prefix(b"state ") {
            sender.waits = state == b"wait";
        } else if let Some(queued) = field.strip_prefix(b"queue ") {
            sender.queued = number(queued, line)?;
        } else if let Some(behind) = field.strip_prefix(b"behind ") {
            sender.behind = number(behind, line)?;
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_to_nodes_are_found_and_what_they_are_at() {
        let mut reply = SenderThreads::default();
        for (id, kind, state, queue, behind) in
            [(4, 1, "execute", 1, 9), (5, 16, "execute", 2, 3), (6, 17, "wait", 0, 0)]
        {
            for line in [
                format!("STAT {id}:type {kind}"),
                format!("STAT {id}:peer 127.0.0.1:1"),
                format!("STAT {id}:state {state}"),
                format!("STAT {id}:queue {queue}"),
                format!("STAT {id}:behind {behind}"),
            ] {
                assert_eq!(reply.line(line.as_bytes()).expect("a line of it"), None);
            }
        }
        let answer = reply.line(b"END").expect("its end");
        let busy = SenderThread { thread: 5, towards: 16, waits: false, queued: 2, behind: 3 };
        let idle = SenderThread { thread: 6, towards: 17, waits: true, queued: 0, behind: 0 };
        assert_eq!(answer, Some(vec![busy, idle]));
        assert!(SenderThreads::default().line(b"STAT 5:state wait").is_err());
    }
}
