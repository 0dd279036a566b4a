//! `shutdown`: a node announces that it leaves.
//!
//! ```text
//! shutdown SP <server name> SP <server port>
//! -> OK
//! -> SERVER_ERROR failed to shutdown
//! ```

use crate::model::NodeKey;
use crate::protocol::reply;
use crate::protocol::request::Rejected;
use crate::protocol::words::Words;

/// `shutdown`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Shutdown {
    /// The node that leaves.
    pub node: NodeKey,
}

impl Shutdown {
    pub(crate) fn parse(mut words: Words<'_>) -> Result<Self, Rejected> {
        let node = words.node()?;
        words.finish()?;
        Ok(Self { node: node.key(Self::REFUSED)? })
    }

    /// Noted, or it was down already.
    pub const OK: &'static [u8] = reply::OK;

    /// Not known.
    pub const REFUSED: &'static [u8] = b"SERVER_ERROR failed to shutdown\r\n";
}
