//! What the index asks nodes, one file per command, each in the same order: grammar and answers,
//! the request, the reply (flare-protocol.md 4).
//!
//! A [`Reply`] takes one line at a time and keeps only what is wanted of it, so that an answer of
//! any length, cut anywhere, costs little. [`take`] feeds it from a connection's [`LineBuffer`].
//! Nodes do not number their answers: one request at a time, and after a deadline the connection
//! is of no more use.

pub mod client_threads;
pub mod connect;
pub mod flush_all;
pub mod kill;
pub mod node_sync;
pub mod ping;
pub mod sender_threads;
pub mod stats;
pub mod stats_threads;
pub mod version;

use std::fmt;

use crate::protocol::line::{Frame, LINE_MAX, LineBuffer, LineError};

pub use client_threads::ClientThreads;
pub use connect::{Connect, Forget};
pub use flush_all::FlushAll;
pub use kill::Kill;
pub use node_sync::NodeSync;
pub use ping::Ping;
pub use sender_threads::{SenderThread, SenderThreads};
pub use stats::{NodeStats, Stats};
pub use stats_threads::{NodeThreads, StatsThreads, ThreadsOfKind};
pub use version::Version;

/// How much of an unwanted line an error repeats, in bytes.
const QUOTED_MAX: usize = 200;

/// A reply that is being read; made anew for each request.
pub trait Reply: Default {
    /// What is wanted of it.
    type Value;

    /// Takes the next line, given without its end. `None` until the last line was taken.
    ///
    /// # Errors
    ///
    /// When the line does not belong into this reply.
    fn line(&mut self, line: &[u8]) -> Result<Option<Self::Value>, ReplyError>;
}

/// Reads on as far as the buffer goes. `None` until more bytes come; what follows the reply stays
/// in the buffer.
///
/// # Errors
///
/// After [`ReplyError::Refused`] the connection is in order; after all others it is not.
pub fn take<R: Reply>(
    reply: &mut R,
    lines: &mut LineBuffer,
) -> Result<Option<R::Value>, ReplyError> {
    while let Some(frame) = lines.next_frame()? {
        let value = match frame {
            Frame::Line(line) => reply.line(line)?,
            Frame::TooLong => return Err(ReplyError::TooLong),
        };
        if value.is_some() {
            return Ok(value);
        }
    }
    Ok(None)
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ReplyError {
    /// The node answered `ERROR`, `CLIENT_ERROR` or `SERVER_ERROR`: with this line.
    Refused(String),
    /// This line does not belong into the answer: it is no flared, or an answer got out of step.
    Unexpected(String),
    /// The answer ended without this value.
    Missing(&'static str),
    /// A line of more than [`LINE_MAX`] bytes.
    TooLong,
    /// More lines than an answer may have: this many.
    TooMany(usize),
}

impl ReplyError {
    /// Is the connection in order, so that the next request may follow?
    pub fn keeps_connection(&self) -> bool {
        matches!(self, Self::Refused(_))
    }

    /// For metric labels.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Refused(_) => "refused",
            Self::Unexpected(_) => "unexpected",
            Self::Missing(_) => "missing",
            Self::TooLong => "too_long",
            Self::TooMany(_) => "too_many",
        }
    }

    /// What a line is that is not the one we wait for.
    fn of(line: &[u8]) -> Self {
        let quoted = line[..line.len().min(QUOTED_MAX)].escape_ascii().to_string();
        let first_word = line.split(|byte| *byte == b' ').next().unwrap_or_default();
        match first_word {
            b"ERROR" | b"CLIENT_ERROR" | b"SERVER_ERROR" => Self::Refused(quoted),
            _ => Self::Unexpected(quoted),
        }
    }
}

impl fmt::Display for ReplyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(line) => write!(f, "the node answered `{line}`"),
            Self::Unexpected(line) => write!(f, "the node answered `{line}`, which is no answer"),
            Self::Missing(what) => write!(f, "the node's answer has no `{what}`"),
            Self::TooLong => write!(f, "the node's answer has a line of over {LINE_MAX} bytes"),
            Self::TooMany(most) => write!(f, "the node's answer has over {most} lines"),
        }
    }
}

impl std::error::Error for ReplyError {}

impl From<LineError> for ReplyError {
    fn from(_: LineError) -> Self {
        Self::TooLong
    }
}

/// Replies of one line, `OK`.
fn expect_ok(line: &[u8]) -> Result<Option<()>, ReplyError> {
    if line == b"OK" { Ok(Some(())) } else { Err(ReplyError::of(line)) }
}

/// The number that a value of `STAT` should be; `line` is for the error.
fn number<T: std::str::FromStr>(value: &[u8], line: &[u8]) -> Result<T, ReplyError> {
    let value = str::from_utf8(value).ok().and_then(|value| value.parse().ok());
    value.ok_or_else(|| ReplyError::of(line))
}
