//! `kill`: ends a connection or the connection to a node.
//!
//! ```text
//! kill SP <thread id>
//! -> OK
//! -> CLIENT_ERROR thread not found
//! -> SERVER_ERROR failed to kill thread
//! ```
//!
//! The id is one of `stats threads`; a minus sign wraps it around.

use crate::protocol::reply;
use crate::protocol::request::Rejected;
use crate::protocol::words::{WORD_MAX, Words};

/// `kill`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Kill {
    /// The thread to end.
    pub thread_id: u32,
}

impl Kill {
    pub(crate) fn parse(mut words: Words<'_>) -> Result<Self, Rejected> {
        let thread_id = words.unsigned(WORD_MAX, "thread id")?;
        words.finish()?;
        Ok(Self { thread_id })
    }

    /// It is told to end; the killer may be the killed, and is answered before.
    pub const OK: &'static [u8] = reply::OK;

    /// It is not the caller's to end (R15). Upstream ends whatever it is told to.
    pub const REFUSED: &'static [u8] = b"SERVER_ERROR failed to kill thread\r\n";

    /// No such thread.
    pub const NOT_FOUND: &'static [u8] = b"CLIENT_ERROR thread not found\r\n";
}
