//! `node role`: a person or a node changes a node's role, balance or partition.
//!
//! ```text
//! node SP role SP <server name> SP <server port> SP master|slave|proxy
//!     [SP <balance> [SP <partition> [anything]]]
//! -> OK
//! -> SERVER_ERROR failed to set role (and balance)
//! ```
//!
//! What is left out is -1. Where the balance or the partition should be and something else than a
//! number is, the rest of the line is ignored (flare-protocol.md 3, 3.3).

use crate::model::{NO_PARTITION, NodeKey, Role};
use crate::protocol::reply;
use crate::protocol::request::Rejected;
use crate::protocol::words::{LONG_WORD_MAX, Malformed, Words};

/// The balance that stands for one that was left out.
const NO_BALANCE: i32 = -1;

/// `node role`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NodeRole {
    /// The node whose role is to change.
    pub node: NodeKey,
    /// The wanted role.
    pub role: Role,
    /// The wanted balance; -1 when left out.
    pub balance: i32,
    /// The wanted partition; -1 when left out.
    pub partition: i32,
}

impl NodeRole {
    pub(crate) fn parse(mut words: Words<'_>) -> Result<Self, Rejected> {
        let node = words.node()?;
        let role = match words.word(LONG_WORD_MAX) {
            b"" => return Err(Malformed::Missing("role").into()),
            word => str::from_utf8(word).ok().and_then(Role::from_word),
        };
        let role = role.ok_or(Malformed::Word("role"))?;
        let balance = words.number_or(NO_BALANCE, "balance")?;
        let partition = words.number_or(NO_PARTITION, "partition")?;
        Ok(Self { node: node.key(Self::REFUSED)?, role, balance, partition })
    }

    /// Done.
    pub const OK: &'static [u8] = reply::OK;

    /// Not done.
    pub const REFUSED: &'static [u8] = b"SERVER_ERROR failed to set role (and balance)\r\n";
}
