//! `version`: which Flare speaks here?
//!
//! ```text
//! version
//! -> VERSION flare-1.3.4
//! ```

use crate::protocol::request::Rejected;
use crate::protocol::words::Words;

/// The version of Flare whose protocol and behaviour this is; tools look at it.
pub const FLARE_VERSION: &str = "1.3.4";

/// `version`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Version;

impl Version {
    pub(crate) fn parse(words: Words<'_>) -> Result<Self, Rejected> {
        words.finish()?;
        Ok(Self)
    }

    /// The only answer; names [`FLARE_VERSION`].
    pub const REPLY: &'static [u8] = b"VERSION flare-1.3.4\r\n";
}
