//! Cuts the bytes of a connection into lines, however they arrive, within limits.
//!
//! Sockets read straight into the buffer and lines are handed out as slices of it, so no byte is
//! copied on the way. An idle connection holds no memory: the buffer is given back when it is
//! empty. Used for requests to the index ([`LineBuffer::for_requests`]) and for the replies of
//! nodes ([`LineBuffer::for_replies`]).

use std::fmt;

use bytes::{Buf, BytesMut};

/// The longest line that is kept, in bytes without its LF: twice the largest word that upstream
/// has room for (8191), so that no line of a real client or node comes near it.
pub const LINE_MAX: usize = 16 * 1024;

/// The longest line that is skipped, in bytes, before the connection is given up: upstream reads
/// lines of any length and answers `ERROR`, so we do the same for a while, without keeping them.
pub const SKIPPED_LINE_MAX: usize = 1024 * 1024;

/// The room that is made for one read, in bytes: many pipelined requests, or most replies.
pub const READ_SIZE: usize = 2 * 1024;

/// The first byte of a request in memcached's binary protocol.
const BINARY_MAGIC: u8 = 0x80;

/// The length of a binary request's header; upstream reads it whole before it closes.
const BINARY_HEADER: usize = 24;

/// One thing that a connection delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frame<'a> {
    /// A line without its LF and without one CR before it.
    Line(&'a [u8]),
    /// A line over [`LINE_MAX`] has ended; it was not kept.
    TooLong,
}

/// Why a connection can't go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LineError {
    /// A request in memcached's binary protocol: upstream closes without a word.
    Binary,
    /// A line went on for more than [`SKIPPED_LINE_MAX`] bytes.
    Endless,
}

impl LineError {
    /// For metric labels.
    pub fn kind(self) -> &'static str {
        match self {
            Self::Binary => "binary",
            Self::Endless => "endless_line",
        }
    }
}

impl fmt::Display for LineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Binary => f.write_str("the binary protocol is not spoken here"),
            Self::Endless => write!(f, "a line of more than {SKIPPED_LINE_MAX} bytes"),
        }
    }
}

impl std::error::Error for LineError {}

/// The bytes of one connection that are not consumed yet.
#[derive(Debug, Default)]
pub struct LineBuffer {
    bytes: BytesMut,
    /// How much of `bytes` the last frame took; removed at the next call.
    taken: usize,
    /// How much of `bytes` is known to hold no LF.
    searched: usize,
    /// How much of the current line has been dropped already.
    skipped: usize,
    /// May a request be one of the binary protocol?
    binary: bool,
}

impl LineBuffer {
    /// For what clients and nodes send to the index.
    pub fn for_requests() -> Self {
        Self { binary: true, ..Self::default() }
    }

    /// For what nodes answer.
    pub fn for_replies() -> Self {
        Self::default()
    }

    /// Where the socket reads to: has room for at least one byte, usually for [`READ_SIZE`].
    ///
    /// Take all frames out before reading again; then the buffer never holds more than
    /// [`LINE_MAX`] and one read.
    pub fn read_buffer(&mut self) -> &mut BytesMut {
        self.drop_taken();
        if self.bytes.len() == self.bytes.capacity() {
            self.bytes.reserve(READ_SIZE);
        }
        &mut self.bytes
    }

    /// Adds bytes that were read elsewhere.
    pub fn extend(&mut self, bytes: &[u8]) {
        self.read_buffer().extend_from_slice(bytes);
    }

    /// The next whole line, or `None` until more bytes come.
    ///
    /// # Errors
    ///
    /// When the connection is to be closed without an answer; the same again if asked again.
    pub fn next_frame(&mut self) -> Result<Option<Frame<'_>>, LineError> {
        self.drop_taken();
        if self.binary && self.skipped == 0 && self.bytes.first() == Some(&BINARY_MAGIC) {
            return if self.bytes.len() < BINARY_HEADER {
                Ok(None)
            } else {
                Err(LineError::Binary)
            };
        }
        let Some(found) = self.bytes[self.searched..].iter().position(|byte| *byte == b'\n') else {
            self.searched = self.bytes.len();
            return self.skip_if_long().map(|()| None);
        };
        let end = self.searched + found;
        if self.skipped + end > SKIPPED_LINE_MAX {
            return Err(LineError::Endless);
        }
        self.taken = end + 1;
        self.searched = 0;
        if self.skipped > 0 || end > LINE_MAX {
            self.skipped = 0;
            return Ok(Some(Frame::TooLong));
        }
        let line = &self.bytes[..end];
        Ok(Some(Frame::Line(line.strip_suffix(b"\r").unwrap_or(line))))
    }

    /// Is nothing left, not even the beginning of a line?
    pub fn is_empty(&self) -> bool {
        self.bytes.len() == self.taken && self.skipped == 0
    }

    /// How much memory it holds, in bytes; none after the last frame was taken.
    pub fn held_memory(&self) -> usize {
        self.bytes.capacity()
    }

    fn drop_taken(&mut self) {
        if self.taken == 0 {
            return;
        }
        self.bytes.advance(self.taken);
        self.taken = 0;
        if self.bytes.is_empty() {
            self.bytes = BytesMut::new();
        }
    }

    /// There is no LF in the buffer: is it worth keeping?
    fn skip_if_long(&mut self) -> Result<(), LineError> {
        if self.skipped + self.bytes.len() > SKIPPED_LINE_MAX {
            return Err(LineError::Endless);
        }
        if self.bytes.len() > LINE_MAX || self.skipped > 0 {
            self.skipped += self.bytes.len();
            self.searched = 0;
            self.bytes.clear();
        }
        Ok(())
    }
}
