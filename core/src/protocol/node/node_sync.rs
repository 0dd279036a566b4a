//! `node sync`: pushes the map.
//!
//! ```text
//! node sync <version>
//! NODE … (one line per node)
//! END
//! -> OK
//! -> SERVER_ERROR node sync error  (the node has a higher version)
//! -> CLIENT_ERROR format error
//! ```
//!
//! `OK` says that the node took the map, not that it uses it (flare-protocol.md 1.6).

pub use crate::protocol::encode::node_sync as request;
use crate::protocol::node::{Reply, ReplyError, expect_ok};

/// The reply to [`request`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NodeSync;

impl Reply for NodeSync {
    type Value = ();

    fn line(&mut self, line: &[u8]) -> Result<Option<()>, ReplyError> {
        expect_ok(line)
    }
}
