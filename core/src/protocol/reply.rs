//! The answers that many commands share, as they stand on the wire (flare-protocol.md 2).
//!
//! Lines may come in with LF or CRLF; every line that goes out ends in CRLF.

/// Done.
pub const OK: &[u8] = b"OK\r\n";

/// The end of an answer of several lines.
pub const END: &[u8] = b"END\r\n";

/// Unknown command, empty line or wrong arguments; the connection stays open.
pub const ERROR: &[u8] = b"ERROR\r\n";

/// Nothing is answered.
pub const NOTHING: &[u8] = b"";
