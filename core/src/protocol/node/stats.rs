//! `stats`: which process is the node, what does it hold, which map has it?
//!
//! ```text
//! stats
//! -> STAT <name> <value> (some 35 lines)
//!    END
//! ```

use crate::model::Incarnation;
use crate::protocol::node::{NodeThreads, Reply, ReplyError, number};
use crate::topology::Observation;

/// The request.
pub const REQUEST: &[u8] = b"stats\r\n";

/// The most lines of a reply; upstream sends 36.
pub const LINES_MAX: usize = 1_000;

/// What we want of a node's `stats`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NodeStats {
    /// Which process it is (R13): `time` - `uptime`, and `pid`.
    pub incarnation: Incarnation,
    /// `node_map_version`.
    pub version: u64,
    /// `curr_items`.
    pub items: u64,
}

impl NodeStats {
    /// Together with `stats threads`, what the topology wants to know of a node.
    pub fn observation(&self, threads: &NodeThreads) -> Observation {
        Observation {
            incarnation: self.incarnation,
            version: self.version,
            items: self.items,
            copying: threads.copying(),
        }
    }
}

/// The reply to [`REQUEST`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    lines: usize,
    pid: Option<u32>,
    uptime: Option<i64>,
    time: Option<i64>,
    items: Option<u64>,
    version: Option<u64>,
}

impl Reply for Stats {
    type Value = NodeStats;

    fn line(&mut self, line: &[u8]) -> Result<Option<NodeStats>, ReplyError> {
        if line == b"END" {
            return self.end().map(Some);
        }
        self.lines += 1;
        if self.lines > LINES_MAX {
            return Err(ReplyError::TooMany(LINES_MAX));
        }
        let stat = line.strip_prefix(b"STAT ").ok_or_else(|| ReplyError::of(line))?;
        let space = stat.iter().position(|byte| *byte == b' ').unwrap_or(stat.len());
        let (name, value) = stat.split_at(space);
        let value = value.strip_prefix(b" ").unwrap_or_default();
        match name {
            b"pid" => self.pid = Some(number(value, line)?),
            b"uptime" => self.uptime = Some(number(value, line)?),
            b"time" => self.time = Some(number(value, line)?),
            b"curr_items" => self.items = Some(number(value, line)?),
            b"node_map_version" => self.version = Some(number(value, line)?),
            _ => {}
        }
        Ok(None)
    }
}

impl Stats {
    fn end(&self) -> Result<NodeStats, ReplyError> {
        let time = self.time.ok_or(ReplyError::Missing("time"))?;
        let uptime = self.uptime.ok_or(ReplyError::Missing("uptime"))?;
        Ok(NodeStats {
            incarnation: Incarnation {
                started: time.saturating_sub(uptime),
                pid: self.pid.ok_or(ReplyError::Missing("pid"))?,
            },
            version: self.version.ok_or(ReplyError::Missing("node_map_version"))?,
            items: self.items.ok_or(ReplyError::Missing("curr_items"))?,
        })
    }
}
