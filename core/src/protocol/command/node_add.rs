//! `node add`: a node registers, at each of its starts.
//!
//! ```text
//! node SP add SP <server name> SP <server port>
//! -> NODE … (one line per node, the caller's among them)
//!    END
//! -> SERVER_ERROR failed to add node
//! ```
//!
//! A node that is refused exits with status 255 (flare-protocol.md 3.2, 6.1).

use crate::model::NodeKey;
use crate::protocol::request::Rejected;
use crate::protocol::words::Words;

/// `node add`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NodeAdd {
    /// The node that registers.
    pub node: NodeKey,
}

impl NodeAdd {
    pub(crate) fn parse(mut words: Words<'_>) -> Result<Self, Rejected> {
        let node = words.node()?;
        words.finish()?;
        Ok(Self { node: node.key(Self::REFUSED)? })
    }

    // Accepted: `Snapshot::node_lines`, which all askers of one version share.

    /// Not registered.
    pub const REFUSED: &'static [u8] = b"SERVER_ERROR failed to add node\r\n";
}
