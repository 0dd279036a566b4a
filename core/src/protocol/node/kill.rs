//! `kill`: ends one of the node's connections (flare-protocol.md 4.9).
//!
//! ```text
//! kill SP <thread id>
//! -> OK
//! -> CLIENT_ERROR or SERVER_ERROR: there is no such thread any more
//! ```

use bytes::Bytes;

use crate::protocol::node::{Reply, ReplyError, expect_ok};

/// The request that ends the connection of this thread.
pub fn request(thread: u32) -> Bytes {
    Bytes::from(format!("kill {thread}\r\n"))
}

/// The reply to [`request`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Kill;

impl Reply for Kill {
    type Value = ();

    fn line(&mut self, line: &[u8]) -> Result<Option<()>, ReplyError> {
        expect_ok(line)
    }
}
