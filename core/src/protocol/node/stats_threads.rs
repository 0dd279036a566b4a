//! `stats threads`: what is the node busy with?
//!
//! ```text
//! stats threads
//! -> STAT <id>:type <n>
//!    STAT <id>:state setup|connect|wait|execute
//!    STAT <id>:queue <n>
//!    … (eight lines per thread, of which these are wanted)
//!    END
//! ```
//!
//! A busy node has a thread per client and two or more per other node, so lines are counted up by
//! type and not kept.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::FIRST_THREAD_TYPE;
use crate::protocol::node::{Reply, ReplyError, number};

/// The request.
pub const REQUEST: &[u8] = b"stats threads\r\n";

/// The most lines of a reply: eight per thread, and a process has at most 32,768 threads by
/// Linux's default.
pub const LINES_MAX: usize = 8 * 32_768;

/// The type of a thread that copies what the node's role needs (flare-protocol.md 4.9).
const RECONSTRUCTION: u32 = 3;

/// The threads of a node, by type.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct NodeThreads {
    kinds: BTreeMap<u32, ThreadsOfKind>,
}

/// The threads of one type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct ThreadsOfKind {
    /// How many there are.
    pub threads: u64,
    /// How many of them have not begun (`setup`): what comes for them is dropped.
    pub beginning: u64,
    /// How many of them do not wait.
    pub busy: u64,
    /// The length of their queues together.
    pub queued: u64,
}

impl ThreadsOfKind {
    /// Are there any, and will all of them take what comes?
    pub fn stand(&self) -> bool {
        self.threads > 0 && self.beginning == 0
    }
}

impl NodeThreads {
    /// Is the node still copying?
    pub fn copying(&self) -> bool {
        self.kinds.contains_key(&RECONSTRUCTION)
    }

    /// The thread types of the nodes that it has connections to, and is not only making them.
    pub fn connected(&self) -> BTreeSet<u32> {
        let nodes = self.kinds.range(FIRST_THREAD_TYPE..);
        nodes.filter(|(_, seen)| seen.stand()).map(|(kind, _)| *kind).collect()
    }

    /// The threads of one type; from 16 on it is the thread type of the node they send to.
    pub fn of_kind(&self, kind: u32) -> ThreadsOfKind {
        self.kinds.get(&kind).copied().unwrap_or_default()
    }
}

/// One line about a thread: its id, and the field with its value. `lines` counts them.
pub(super) fn thread_line<'a, Id: std::str::FromStr>(
    line: &'a [u8],
    lines: &mut usize,
) -> Result<(Id, &'a [u8]), ReplyError> {
    *lines += 1;
    if *lines > LINES_MAX {
        return Err(ReplyError::TooMany(LINES_MAX));
    }
    let stat = line.strip_prefix(b"STAT ").ok_or_else(|| ReplyError::of(line))?;
    let colon = stat.iter().position(|byte| *byte == b':').ok_or_else(|| ReplyError::of(line))?;
    Ok((number(&stat[..colon], line)?, &stat[colon + 1..]))
}

/// The reply to [`REQUEST`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StatsThreads {
    lines: usize,
    /// The thread that the lines are about.
    thread: Option<(u64, u32)>,
    seen: NodeThreads,
}

impl Reply for StatsThreads {
    type Value = NodeThreads;

    fn line(&mut self, line: &[u8]) -> Result<Option<NodeThreads>, ReplyError> {
        if line == b"END" {
            return Ok(Some(std::mem::take(&mut self.seen)));
        }
        let (id, field): (u64, _) = thread_line(line, &mut self.lines)?;
        if let Some(kind) = field.strip_prefix(b"type ") {
            let kind = number(kind, line)?;
            self.thread = Some((id, kind));
            self.seen.kinds.entry(kind).or_default().threads += 1;
            return Ok(None);
        }
        let Some((_, kind)) = self.thread.filter(|(thread, _)| *thread == id) else {
            return Err(ReplyError::of(line));
        };
        let seen = self.seen.kinds.entry(kind).or_default();
        if let Some(length) = field.strip_prefix(b"queue ") {
            seen.queued = seen.queued.saturating_add(number(length, line)?);
        } else if let Some(state) = field.strip_prefix(b"state ") {
            seen.busy += u64::from(state != b"wait");
            seen.beginning += u64::from(state == b"setup");
        }
        Ok(None)
    }
}
