//! `node leave`: a node is going to be stopped, and says so while it still serves. Ours, not
//! upstream's: its `shutdown` comes when the node has stopped listening (flare-protocol.md 6.5).
//!
//! ```text
//! node SP leave SP <server name> SP <server port> [SP cancel]
//! -> OK                                   it may be stopped; with `cancel`: it stays
//! -> SERVER_ERROR node may not be stopped yet
//! ```
//!
//! The first answer comes when the node is no master any more. After the second the node is noted
//! as leaving all the same; asking again waits again.

use crate::model::NodeKey;
use crate::protocol::reply;
use crate::protocol::request::Rejected;
use crate::protocol::words::{LONG_WORD_MAX, Malformed, Words};

/// `node leave`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NodeLeave {
    /// The node.
    pub node: NodeKey,
    /// Does it stay after all?
    pub cancel: bool,
}

impl NodeLeave {
    pub(crate) fn parse(mut words: Words<'_>) -> Result<Self, Rejected> {
        let node = words.node()?;
        let cancel = match words.word(LONG_WORD_MAX) {
            b"" => false,
            b"cancel" => true,
            _ => return Err(Malformed::Word("option").into()),
        };
        words.finish()?;
        Ok(Self { node: node.key(Self::REFUSED)?, cancel })
    }

    /// It may be stopped; or it stays.
    pub const OK: &'static [u8] = reply::OK;

    /// It is still a master, or it is not known.
    pub const REFUSED: &'static [u8] = b"SERVER_ERROR node may not be stopped yet\r\n";
}
