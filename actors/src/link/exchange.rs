//! One request to a node and its answer.
//!
//! Nodes do not number their answers, so there is one exchange at a time, and a connection whose
//! exchange has failed in any other way than by a clean refusal is closed: an answer that comes
//! late can then never be taken for another's.

use std::collections::BTreeSet;

use bytes::Bytes;
use flare_core::protocol::line::LineBuffer;
use flare_core::protocol::node::client_threads::ClientThread;
use flare_core::protocol::node::{
    ClientThreads, Connect, FlushAll, Forget, Kill, NodeStats, NodeSync, NodeThreads, Ping,
    ReplyError, SenderThread, SenderThreads, Stats, StatsThreads, client_threads, connect,
    flush_all, kill, ping, stats_threads, take,
};
use flare_core::topology::{ConnectingRequest, Observation};
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
    /// `stats threads`, for the connections that the node has
    ShowConnections(StatsThreads),
    /// A request that makes the node connect, then `stats threads`
    Connect {
        /// The version of a map that was sent before these, if one was.
        map: Option<u64>,
        /// The answer to the map, until it has come.
        told: Option<NodeSync>,
        /// Why the map was refused, if it was.
        refused: Option<ReplyError>,
        /// The answer to the others.
        reply: Connect,
    },
    /// `delete` of what was written for it
    Forget(Forget),
    /// `stats threads request`
    ListClients(ClientThreads),
    /// `kill`
    Kill(Kill),
    /// `stats threads`, for the connections to other nodes
    ListSenders(SenderThreads),
    /// `kill`, of a connection to another node, or of the request that it is at
    EndSender(Kill),
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
    Observed { observation: Observation, connected: BTreeSet<u32> },
    Emptied { intent: u64 },
    QueuesRead(NodeThreads),
    ConnectionsShown { map: Option<u64>, threads: NodeThreads },
    Forgotten,
    SendersListed(Vec<SenderThread>),
    SenderEnded,
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

    pub(super) fn show_connections() -> (Self, Bytes) {
        let question = Self::ShowConnections(StatsThreads::default());
        (question, Bytes::from_static(stats_threads::REQUEST))
    }

    pub(super) fn connect(asked: &ConnectingRequest) -> (Self, Bytes) {
        let reply = Connect::default();
        (Self::Connect { map: None, told: None, refused: None, reply }, connect::request(asked))
    }

    /// A map, and right behind it the request that makes the node connect to those that it passes
    /// it on to by that map.
    pub(super) fn push_and_connect(
        version: u64,
        map: &Bytes,
        asked: &ConnectingRequest,
    ) -> (Self, Bytes) {
        let (reply, told) = (Connect::default(), Some(NodeSync));
        let request = [map.as_ref(), &connect::request(asked)].concat();
        (Self::Connect { map: Some(version), told, refused: None, reply }, request.into())
    }

    pub(super) fn forget(asked: &ConnectingRequest) -> (Self, Bytes) {
        (Self::Forget(Forget), connect::forget(asked))
    }

    pub(super) fn list_senders() -> (Self, Bytes) {
        let question = Self::ListSenders(SenderThreads::default());
        (question, Bytes::from_static(stats_threads::REQUEST))
    }

    pub(super) fn end_sender(thread: u32) -> (Self, Bytes) {
        (Self::EndSender(Kill), kill::request(thread))
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
            Self::Observe { .. }
            | Self::ReadQueues { .. }
            | Self::ShowConnections(_)
            | Self::ListSenders(_)
            | Self::ListClients(_) => "stats",
            Self::Connect { map: Some(_), .. } => "node_sync",
            Self::Connect { map: None, .. } | Self::Forget(_) => "connect",
            Self::Kill(_) | Self::EndSender(_) => "kill",
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
            Self::ListSenders(reply) => Ok(take(reply, lines)?.map(Answered::SendersListed)),
            Self::EndSender(reply) => Ok(take(reply, lines)?.map(|()| Answered::SenderEnded)),
            Self::ListClients(reply) => Ok(take(reply, lines)?.map(Answered::ClientsListed)),
            Self::Kill(reply) => Ok(take(reply, lines)?.map(|()| Answered::ClientEnded)),
            Self::ReadQueues { reply } => Ok(take(reply, lines)?.map(Answered::QueuesRead)),
            Self::ShowConnections(reply) => Ok(take(reply, lines)?
                .map(|threads| Answered::ConnectionsShown { map: None, threads })),
            Self::Connect { map, told, refused, reply } => {
                if let Some(answer) = told {
                    match take(answer, lines) {
                        Ok(None) => return Ok(None),
                        Ok(Some(())) => {}
                        Err(error @ ReplyError::Refused(_)) => *refused = Some(error),
                        Err(error) => return Err(error),
                    }
                    *told = None;
                }
                let Some(threads) = take(reply, lines)? else { return Ok(None) };
                match refused.take() {
                    Some(error) => Err(error),
                    None => Ok(Some(Answered::ConnectionsShown { map: *map, threads })),
                }
            }
            Self::Forget(reply) => Ok(take(reply, lines)?.map(|()| Answered::Forgotten)),
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
                Ok(threads.map(|threads| Answered::Observed {
                    observation: stats.observation(&threads),
                    connected: threads.connected(),
                }))
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
