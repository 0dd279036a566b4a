//! `ping`: is the node there, and well?
//!
//! ```text
//! ping
//! -> OK
//! -> SERVER_ERROR storage error  (until it is restarted)
//! ```

use crate::protocol::node::{Reply, ReplyError, expect_ok};

/// The request.
pub const REQUEST: &[u8] = b"ping\r\n";

/// The reply to [`REQUEST`]: exactly `OK` is success (flare-protocol.md 7.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ping;

impl Reply for Ping {
    type Value = ();

    fn line(&mut self, line: &[u8]) -> Result<Option<()>, ReplyError> {
        expect_ok(line)
    }
}
