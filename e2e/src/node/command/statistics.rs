//! `stats`, `stats items|slabs|sizes|nodes|threads [request|slave|queue]`.

use super::MAX_WORD;
use crate::node::words::Words;

/// Which statistics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Statistics {
    General,
    /// `items`, `slabs`, `sizes`: nothing but `END`.
    Empty,
    Nodes,
    Threads(ThreadFilter),
}

/// Which threads `stats threads` shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ThreadFilter {
    All,
    Request,
    Slave,
    /// Only the total length of the queues.
    Queue,
}

pub(super) fn parse(words: &mut Words<'_>) -> Option<Statistics> {
    match words.word(MAX_WORD) {
        b"" => Some(Statistics::General),
        b"items" | b"slabs" | b"sizes" => Some(Statistics::Empty),
        b"nodes" => Some(Statistics::Nodes),
        b"threads" => {
            let filter = match words.word(MAX_WORD) {
                b"" => ThreadFilter::All,
                b"request" => ThreadFilter::Request,
                b"slave" => ThreadFilter::Slave,
                b"queue" => ThreadFilter::Queue,
                _ => return None,
            };
            Some(Statistics::Threads(filter))
        }
        _ => None,
    }
}
