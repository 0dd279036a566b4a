//! `stats`: what the index tells of itself and of the nodes.
//!
//! ```text
//! stats                                     -> `stats_process`
//! stats SP items|slabs|sizes [anything]     -> END
//! stats SP nodes [anything]                 -> `stats_nodes`
//! stats SP threads [SP request|slave|queue [anything]]  -> `stats_threads`
//! ```
//!
//! The bodies have a file each; their names are in the right column.

use crate::protocol::reply;
use crate::protocol::request::Rejected;
use crate::protocol::words::{LONG_WORD_MAX, Malformed, Words};

/// `stats` with its words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stats {
    /// The process: [`super::StatsProcess`].
    Process,
    /// `items`, `slabs`, `sizes`: memcached has them, Flare has nothing to say; [`Stats::EMPTY`].
    Empty,
    /// The nodes: [`super::StatsNodes`].
    Nodes,
    /// All threads: [`super::StatsThreads`].
    Threads,
    /// Client connections only: [`super::StatsThreads`].
    RequestThreads,
    /// Connections to slaves: an index has none, so [`Stats::EMPTY`].
    SlaveThreads,
    /// The total of all queues: [`super::StatsThreads::encode_queue`].
    ThreadQueue,
}

impl Stats {
    pub(crate) fn parse(mut words: Words<'_>) -> Result<Self, Rejected> {
        match words.word(LONG_WORD_MAX) {
            b"" => Ok(Self::Process),
            b"items" | b"slabs" | b"sizes" => Ok(Self::Empty),
            b"nodes" => Ok(Self::Nodes),
            b"threads" => match words.word(LONG_WORD_MAX) {
                b"" => Ok(Self::Threads),
                b"request" => Ok(Self::RequestThreads),
                b"slave" => Ok(Self::SlaveThreads),
                b"queue" => Ok(Self::ThreadQueue),
                _ => Err(Malformed::Word("kind of thread").into()),
            },
            _ => Err(Malformed::Word("kind of stats").into()),
        }
    }

    /// The words that ask for it.
    pub fn words(self) -> &'static str {
        match self {
            Self::Process => "stats",
            Self::Empty => "stats items",
            Self::Nodes => "stats nodes",
            Self::Threads => "stats threads",
            Self::RequestThreads => "stats threads request",
            Self::SlaveThreads => "stats threads slave",
            Self::ThreadQueue => "stats threads queue",
        }
    }

    /// Nothing to tell.
    pub const EMPTY: &'static [u8] = reply::END;
}
