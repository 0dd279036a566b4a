//! `ping`: is the index there?
//!
//! ```text
//! ping
//! -> OK
//! ```

use crate::protocol::reply;
use crate::protocol::request::Rejected;
use crate::protocol::words::Words;

/// `ping`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ping;

impl Ping {
    pub(crate) fn parse(words: Words<'_>) -> Result<Self, Rejected> {
        words.finish()?;
        Ok(Self)
    }

    /// The index is there.
    pub const OK: &'static [u8] = reply::OK;
}
