//! The `NODE` line: one node of the map in a `node sync` and in the answer to `node add`.
//!
//! ```text
//! NODE SP <name> SP <port> SP <role #> SP <state #> SP <partition> SP <balance> SP <thread type>
//!     [SP anything]
//! ```
//!
//! A node reads all seven values and ignores what follows (flare-protocol.md 1.3). It does not
//! check the range of role and state; we do, since a map with another number is not a map.

use std::fmt;

use crate::model::{NodeEntry, NodeKey, Role, State};
use crate::protocol::words::{LONG_WORD_MAX, Malformed, WORD_MAX, Words};

/// Writes a node as a NODE line, without the line's end.
#[derive(Debug, Clone, Copy)]
pub struct NodeLine<'a> {
    /// The node.
    pub key: &'a NodeKey,
    /// Its entry.
    pub entry: &'a NodeEntry,
}

impl fmt::Display for NodeLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "NODE {} {} {} {} {} {} {}",
            self.key.name(),
            self.key.port(),
            self.entry.role.number(),
            self.entry.state.number(),
            self.entry.partition,
            self.entry.balance,
            self.entry.thread_type,
        )
    }
}

/// Reads a NODE line, given without its end.
///
/// # Errors
///
/// When a value is missing or impossible.
pub fn parse(line: &[u8]) -> Result<(NodeKey, NodeEntry), Malformed> {
    let mut words = Words::new(line);
    if words.word(WORD_MAX) != b"NODE" {
        return Err(Malformed::Word("line in a node map"));
    }
    let node = words.node()?;
    let role = Role::from_number(words.number(LONG_WORD_MAX, "role")?);
    let state = State::from_number(words.number(LONG_WORD_MAX, "state")?);
    let entry = NodeEntry {
        role: role.ok_or(Malformed::Word("role number"))?,
        state: state.ok_or(Malformed::Word("state number"))?,
        partition: words.number(LONG_WORD_MAX, "partition")?,
        balance: words.number(LONG_WORD_MAX, "balance")?,
        thread_type: words.unsigned(LONG_WORD_MAX, "thread type")?,
    };
    let key = node.key(b"").map_err(|rejected| rejected.reason)?;
    Ok((key, entry))
}
