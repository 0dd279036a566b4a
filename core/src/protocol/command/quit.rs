//! `quit`: ends the connection.
//!
//! ```text
//! quit
//! -> nothing; the connection is closed
//! quit SP <anything>
//! -> nothing; the connection stays open
//! ```

use crate::protocol::reply;
use crate::protocol::request::Rejected;
use crate::protocol::words::Words;

/// `quit`: close the connection without an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Quit;

impl Quit {
    pub(crate) fn parse(words: Words<'_>) -> Result<Self, Rejected> {
        words.finish().map_err(|reason| Rejected { reason, reply: reply::NOTHING })?;
        Ok(Self)
    }
}
