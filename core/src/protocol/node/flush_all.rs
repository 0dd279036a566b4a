//! `flush_all`: empties the node's storage, at once and for good (flare-protocol.md 4.8).
//!
//! ```text
//! flush_all
//! -> OK
//! -> SERVER_ERROR unknown error
//! ```

use crate::protocol::node::{Reply, ReplyError, expect_ok};

/// The request.
pub const REQUEST: &[u8] = b"flush_all\r\n";

/// The reply to [`REQUEST`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FlushAll;

impl Reply for FlushAll {
    type Value = ();

    fn line(&mut self, line: &[u8]) -> Result<Option<()>, ReplyError> {
        expect_ok(line)
    }
}
