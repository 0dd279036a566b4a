//! The stored form of a topology in bytes: one header line, then JSON.
//!
//! ```text
//! flare-index-map format=1 length=<bytes of the body> crc32=<of the body, 8 hex digits>
//! {"generation":…}
//! ```
//!
//! The same bytes lie in a file or in a ConfigMap. They are text, so that a person can look at
//! them; what a person changed has a wrong checksum and is refused. The body ends in a LF that
//! counts. A change to the body that an older program must not overlook gets a new format number;
//! others are new fields with a default.

use std::fmt;

use crate::stored::StoredTopology;
use crate::stored_check::{self, Impossible};

/// The format that is written, and the newest that can be read.
pub const FORMAT: u32 = 1;

/// The largest map that is read, in bytes: `STORED_NODES_MAX` nodes with names of 500 bytes.
pub const STORED_BYTES_MAX: usize = 8 * 1024 * 1024;

/// What the header line begins with.
const MAGIC: &str = "flare-index-map";

/// The longest header line, in bytes.
const HEADER_MAX: usize = 128;

/// Why bytes are not a stored topology.
#[derive(Debug)]
pub enum StoreFormatError {
    /// Nothing at all: a file that was created and never written.
    Empty,
    /// Larger than [`STORED_BYTES_MAX`].
    TooLarge(usize),
    /// Something else than a map of ours.
    NotOurs,
    /// It begins as a map of ours, but the header line can't be read.
    Header,
    /// Written by a newer version of this program.
    NewerFormat(u32),
    /// The end is missing.
    CutOff {
        /// Bytes that the body should have.
        expected: usize,
        /// Bytes that it has.
        found: usize,
    },
    /// There is more than was written.
    Surplus {
        /// Bytes that the body should have.
        expected: usize,
        /// Bytes that it has.
        found: usize,
    },
    /// The bytes are not those that were written.
    Checksum {
        /// What the header says.
        expected: u32,
        /// What the body has.
        found: u32,
    },
    /// The body is as it was written, and still no map.
    Body(serde_json::Error),
    /// The map can't be one.
    Impossible(Impossible),
}

impl fmt::Display for StoreFormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("it is empty"),
            Self::TooLarge(bytes) => {
                write!(f, "it has {bytes} bytes, more than the {STORED_BYTES_MAX} that are read")
            }
            Self::NotOurs => {
                write!(f, "it is no node map of flare-operator: it does not begin with `{MAGIC}`")
            }
            Self::Header => f.write_str("its first line is damaged"),
            Self::NewerFormat(found) => write!(
                f,
                "it has format {found}, and this version reads formats up to {FORMAT}: \
                 a newer flare-operator wrote it"
            ),
            Self::CutOff { expected, found } => {
                write!(f, "it is cut off: {found} of {expected} bytes are there")
            }
            Self::Surplus { expected, found } => {
                write!(f, "it has {found} bytes where {expected} were written")
            }
            Self::Checksum { expected, found } => write!(
                f,
                "it is damaged or was edited: its checksum is {found:08x}, not {expected:08x}"
            ),
            Self::Body(error) => write!(f, "it is no node map: {error}"),
            Self::Impossible(what) => write!(f, "it can't be right: {what}"),
        }
    }
}

impl std::error::Error for StoreFormatError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Body(error) => Some(error),
            Self::Impossible(what) => Some(what),
            _ => None,
        }
    }
}

/// Puts a topology into bytes.
pub fn encode(stored: &StoredTopology) -> Vec<u8> {
    let mut body = serde_json::to_vec(stored).expect("its keys are strings and its values plain");
    body.push(b'\n');
    let (length, checksum) = (body.len(), crc32fast::hash(&body));
    let mut bytes =
        format!("{MAGIC} format={FORMAT} length={length} crc32={checksum:08x}\n").into_bytes();
    bytes.append(&mut body);
    bytes
}

/// Reads what [`encode`] wrote.
///
/// # Errors
///
/// With what is wrong with it, for a person who has to decide what to do.
pub fn decode(bytes: &[u8]) -> Result<StoredTopology, StoreFormatError> {
    if bytes.is_empty() {
        return Err(StoreFormatError::Empty);
    }
    if bytes.len() > STORED_BYTES_MAX {
        return Err(StoreFormatError::TooLarge(bytes.len()));
    }
    let header = Header::read(bytes)?;
    let body = &bytes[header.bytes..];
    let (expected, found) = (header.length, body.len());
    if found < expected {
        return Err(StoreFormatError::CutOff { expected, found });
    }
    if found > expected {
        return Err(StoreFormatError::Surplus { expected, found });
    }
    let checksum = crc32fast::hash(body);
    if checksum != header.checksum {
        return Err(StoreFormatError::Checksum { expected: header.checksum, found: checksum });
    }
    let stored: StoredTopology = serde_json::from_slice(body).map_err(StoreFormatError::Body)?;
    stored_check::check(&stored).map_err(StoreFormatError::Impossible)?;
    Ok(stored)
}

/// The header line.
struct Header {
    /// The line's own length, with its LF.
    bytes: usize,
    length: usize,
    checksum: u32,
}

impl Header {
    fn read(bytes: &[u8]) -> Result<Self, StoreFormatError> {
        let start = &bytes[..bytes.len().min(HEADER_MAX)];
        if !start.starts_with(MAGIC.as_bytes()) {
            let cut_off_magic = MAGIC.as_bytes().starts_with(start);
            let error =
                if cut_off_magic { StoreFormatError::Header } else { StoreFormatError::NotOurs };
            return Err(error);
        }
        let end = start.iter().position(|byte| *byte == b'\n').ok_or(StoreFormatError::Header)?;
        let line =
            str::from_utf8(&start[MAGIC.len()..end]).map_err(|_| StoreFormatError::Header)?;
        let mut fields = line.split(' ').skip(1);
        let mut field = |name: &str| {
            let value = fields.next().and_then(|field| field.strip_prefix(name));
            value.ok_or(StoreFormatError::Header)
        };
        // Whatever a newer format has behind its number, the number itself can be read.
        let format: u32 = field("format=")?.parse().map_err(|_| StoreFormatError::Header)?;
        if format > FORMAT {
            return Err(StoreFormatError::NewerFormat(format));
        }
        let length = field("length=")?.parse().map_err(|_| StoreFormatError::Header)?;
        let checksum = u32::from_str_radix(field("crc32=")?, 16);
        let checksum = checksum.map_err(|_| StoreFormatError::Header)?;
        if format == 0 || fields.next().is_some() {
            return Err(StoreFormatError::Header);
        }
        Ok(Self { bytes: end + 1, length, checksum })
    }
}
