//! `verbosity`: taken for memcached's sake; changes nothing.
//!
//! ```text
//! verbosity SP <level> [SP noreply|async]…
//! -> OK
//! -> nothing with noreply
//! ```

use crate::protocol::reply;
use crate::protocol::request::Rejected;
use crate::protocol::words::{LONG_WORD_MAX, Malformed, Words};

/// `verbosity`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Verbosity {
    /// Is no answer wanted?
    pub noreply: bool,
}

impl Verbosity {
    pub(crate) fn parse(mut words: Words<'_>) -> Result<Self, Rejected> {
        words.number(LONG_WORD_MAX, "level")?;
        let mut noreply = false;
        loop {
            match words.word(LONG_WORD_MAX) {
                b"" => return Ok(Self { noreply }),
                b"noreply" => noreply = true,
                b"async" => {}
                _ => return Err(Malformed::Word("option").into()),
            }
        }
    }

    /// The answer, which may be nothing.
    pub fn reply(self) -> &'static [u8] {
        if self.noreply { reply::NOTHING } else { reply::OK }
    }
}
