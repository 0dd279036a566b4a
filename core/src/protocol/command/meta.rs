//! `meta`: how keys are placed; every node asks at its start.
//!
//! ```text
//! meta
//! -> META partition-size <n>
//!    META key-hash-algorithm simple|crc32|jenkins
//!    META partition-type modular
//!    META partition-modular-hint <n>
//!    META partition-modular-virtual <n>
//!    END
//! ```
//!
//! A node does not start without `partition-type` (flare-protocol.md 3.1).

use crate::model::HashSettings;
use crate::protocol::encode::text;
use crate::protocol::request::Rejected;
use crate::protocol::words::Words;

/// `meta`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Meta;

impl Meta {
    pub(crate) fn parse(words: Words<'_>) -> Result<Self, Rejected> {
        words.finish()?;
        Ok(Self)
    }

    /// The META lines and `END`.
    pub fn encode(hash: &HashSettings) -> Vec<u8> {
        text(format_args!(
            "META partition-size {}\r\n\
             META key-hash-algorithm {}\r\n\
             META partition-type modular\r\n\
             META partition-modular-hint {}\r\n\
             META partition-modular-virtual {}\r\n\
             END\r\n",
            hash.partition_size,
            hash.algorithm.word(),
            hash.modular_hint,
            hash.modular_virtual,
        ))
    }
}
