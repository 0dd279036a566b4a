//! One request to a node and its answer.
//!
//! Nodes do not number their answers, so there is one exchange at a time, and a connection whose
//! exchange has failed in any other way than by a clean refusal is closed: an answer that comes
//! late can then never be taken for another's.

use bytes::Bytes;
use flare_core::protocol::line::LineBuffer;
use flare_core::protocol::node::client_threads::ClientThread;
use flare_core::protocol::node::{
    ClientThreads, FlushAll, Kill, NodeStats, NodeSync, NodeThreads, Ping, ReplyError, Stats,
    StatsThreads, client_threads, flush_all, kill, ping, stats_threads, take,
};
use flare_core::topology::Observation;
use tokio::time::Instant;

/// `stats` and `stats threads` in one write: they belong to one moment.
const OBSERVE: &[u8] = b"stats\r\nstats threads\r\n";

/// What is asked of the node.
#[derive(Debug)]
pub(super) enum Question {
    /// `ping`
    Ping(Ping),
    /// `node sync`
    Push {
        /// The version of the map.
        version: u64,
        /// Its answer.
        reply: NodeSync,
    },
    /// `stats`, then `stats threads`
    Observe {
        /// The answer to a map that was sent before these, until it has come.
        told: Option<NodeSync>,
        /// The answer to the first, once it is whole.
        stats: Option<NodeStats>,
        /// The answer to the first.
        first: Stats,
        /// The answer to the second.
        second: StatsThreads,
    },
    /// `stats threads` alone
    ReadQueues {
        /// Its answer.
        reply: StatsThreads,
    },
    /// `stats threads request`
    ListClients(ClientThreads),
    /// `kill`
    Kill(Kill),
    /// `flush_all`
    Empty {
        /// The stored intent.
        intent: u64,
        /// Its answer.
        reply: FlushAll,
    },
}

/// What the node answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answered {
    Pong,
    MapTaken { version: u64 },
    Observed(Observation),
    Emptied { intent: u64 },
    QueuesRead(NodeThreads),
    ClientsListed(Vec<ClientThread>),
    ClientEnded,
}

/// A question that has been asked.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) question: Question,
    /// What has not been written yet.
    pub(super) unsent: Bytes,
    pub(super) began: Instant,
    pub(super) deadline: Instant,
    /// When the next ping that could not be sent counts as missed.
    pub(super) missed_at: Instant,
}

impl Question {
    pub(super) fn ping() -> (Self, Bytes) {
        (Self::Ping(Ping), Bytes::from_static(ping::REQUEST))
    }

    pub(super) fn push(version: u64, request: Bytes) -> (Self, Bytes) {
        (Self::Push { version, reply: NodeSync }, request)
    }

    pub(super) fn observe() -> (Self, Bytes) {
        (Self::observe_after(None), Bytes::from_static(OBSERVE))
    }

    /// A map first, in the same write. Which one the node works by then is seen by its `stats`.
    pub(super) fn tell_and_observe(map: &Bytes) -> (Self, Bytes) {
        (Self::observe_after(Some(NodeSync)), [map, OBSERVE].concat().into())
    }

    fn observe_after(told: Option<NodeSync>) -> Self {
        let (first, second) = (Stats::default(), StatsThreads::default());
        Self::Observe { told, stats: None, first, second }
    }

    pub(super) fn read_queues() -> (Self, Bytes) {
        let question = Self::ReadQueues { reply: StatsThreads::default() };
        (question, Bytes::from_static(stats_threads::REQUEST))
    }

    pub(super) fn list_clients() -> (Self, Bytes) {
        let question = Self::ListClients(ClientThreads::default());
        (question, Bytes::from_static(client_threads::REQUEST))
    }

    pub(super) fn kill(thread: u32) -> (Self, Bytes) {
        (Self::Kill(Kill), kill::request(thread))
    }

    pub(super) fn empty(intent: u64) -> (Self, Bytes) {
        (Self::Empty { intent, reply: FlushAll }, Bytes::from_static(flush_all::REQUEST))
    }

    /// For `stats threads` and logs.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Ping(_) => "ping",
            Self::Push { .. } => "node_sync",
            Self::Observe { .. } | Self::ReadQueues { .. } | Self::ListClients(_) => "stats",
            Self::Kill(_) => "kill",
            Self::Empty { .. } => "flush_all",
        }
    }

    /// Reads on; `None` until the answer is whole.
    pub(super) fn read(&mut self, lines: &mut LineBuffer) -> Result<Option<Answered>, ReplyError> {
        match self {
            Self::Ping(reply) => Ok(take(reply, lines)?.map(|()| Answered::Pong)),
            Self::Push { version, reply } => {
                Ok(take(reply, lines)?.map(|()| Answered::MapTaken { version: *version }))
            }
            Self::Empty { intent, reply } => {
                Ok(take(reply, lines)?.map(|()| Answered::Emptied { intent: *intent }))
            }
            Self::ListClients(reply) => Ok(take(reply, lines)?.map(Answered::ClientsListed)),
            Self::Kill(reply) => Ok(take(reply, lines)?.map(|()| Answered::ClientEnded)),
            Self::ReadQueues { reply } => Ok(take(reply, lines)?.map(Answered::QueuesRead)),
            Self::Observe { told, stats, first, second } => {
                if let Some(reply) = told {
                    match take(reply, lines) {
                        Ok(None) => return Ok(None),
                        // One that it refuses is older than its own.
                        Ok(Some(())) | Err(ReplyError::Refused(_)) => *told = None,
                        Err(error) => return Err(error),
                    }
                }
                if stats.is_none() {
                    *stats = take(first, lines)?;
                }
                let Some(stats) = stats else { return Ok(None) };
                let threads = take(second, lines)?;
                Ok(threads.map(|threads| Answered::Observed(stats.observation(&threads))))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use flare_core::protocol::node::stats;

    use super::*;

    #[test]
    fn the_two_parts_of_an_observation_are_one_request() {
        assert_eq!(OBSERVE, [stats::REQUEST, stats_threads::REQUEST].concat());
    }
}
