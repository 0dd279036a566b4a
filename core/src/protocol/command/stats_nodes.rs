//! The body of `stats nodes`: the node map in words, five lines per node (flare-protocol.md 4.9).
//!
//! ```text
//! STAT <node key>:role master|slave|proxy
//! STAT <node key>:state active|prepare|down|ready
//! STAT <node key>:partition <n>
//! STAT <node key>:balance <n>
//! STAT <node key>:thread_type <n>
//! END
//! ```

use std::fmt::{self, Display};

use bytes::Bytes;

use crate::model::{NodeEntry, NodeKey};
use crate::protocol::encode::put;

/// A node takes about this much; only the first allocation is sized by it.
const NODE_BYTES: usize = 256;

/// The body of `stats nodes`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct StatsNodes;

impl StatsNodes {
    /// All lines and `END`; the same for all who ask about one version, so keep it.
    pub fn encode<'a>(nodes: impl Iterator<Item = (&'a NodeKey, &'a NodeEntry)>) -> Bytes {
        let mut text = String::with_capacity(NODE_BYTES * (nodes.size_hint().0 + 1));
        for (key, entry) in nodes {
            put(&mut text, format_args!("{}", NodeLines { key, entry }));
        }
        text.push_str("END\r\n");
        Bytes::from(text)
    }
}

struct NodeLines<'a> {
    key: &'a NodeKey,
    entry: &'a NodeEntry,
}

impl Display for NodeLines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = self.key.as_str();
        let NodeEntry { role, state, partition, balance, thread_type } = self.entry;
        write!(f, "STAT {key}:role {role}\r\nSTAT {key}:state {state}\r\n")?;
        write!(f, "STAT {key}:partition {partition}\r\nSTAT {key}:balance {balance}\r\n")?;
        write!(f, "STAT {key}:thread_type {thread_type}\r\n")
    }
}
