//! `node remove`: a person has a node forgotten that is down.
//!
//! ```text
//! node SP remove SP <server name> SP <server port>
//! -> OK
//! -> SERVER_ERROR failed to remove node
//! ```

use crate::model::NodeKey;
use crate::protocol::reply;
use crate::protocol::request::Rejected;
use crate::protocol::words::Words;

/// `node remove`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NodeRemove {
    /// The node to forget.
    pub node: NodeKey,
}

impl NodeRemove {
    pub(crate) fn parse(mut words: Words<'_>) -> Result<Self, Rejected> {
        let node = words.node()?;
        words.finish()?;
        Ok(Self { node: node.key(Self::REFUSED)? })
    }

    /// Forgotten.
    pub const OK: &'static [u8] = reply::OK;

    /// Not forgotten.
    pub const REFUSED: &'static [u8] = b"SERVER_ERROR failed to remove node\r\n";
}
