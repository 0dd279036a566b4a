//! `version`: which Flare is the node?
//!
//! ```text
//! version
//! -> VERSION flare-1.3.4
//! ```

use crate::protocol::node::{Reply, ReplyError};

/// The request.
pub const REQUEST: &[u8] = b"version\r\n";

/// The reply to [`REQUEST`]: what follows `VERSION`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Version;

impl Reply for Version {
    type Value = String;

    fn line(&mut self, line: &[u8]) -> Result<Option<String>, ReplyError> {
        let version =
            line.strip_prefix(b"VERSION ").and_then(|version| str::from_utf8(version).ok());
        version.map(|version| Some(version.to_owned())).ok_or_else(|| ReplyError::of(line))
    }
}
