//! Connections that others open to the index: the listener and one session for each.
//!
//! [`ListenerActor`] owns the listening socket, the limits and the list of sessions;
//! [`InboundSession`] owns one socket and its line buffer. Sessions answer reads from the
//! published map and ask the topology for changes.

mod inbound;
mod listener;
mod messages;
mod origin;
mod outgoing;
mod requests;

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::{Addr, Recipient};
use flare_core::topology::HELD_REGISTRATION_MILLIS;
use tokio::sync::watch;

pub use inbound::InboundSession;
pub use listener::{ListenerActor, Parts};
pub use messages::*;

use crate::clock::Clock;
use crate::metrics::ClusterMetrics;
use crate::names::LookUp;
use crate::net::Network;
use crate::topology::{
    GetLinks, GetStatsNodes, KillLink, PrepareToLeave, Published, RegisterNode, RemoveNode,
    SetNodeRole, SetNodeState, ShutdownNode, TopologyActor,
};
use crate::whereabouts::Addresses;

/// How much longer than the core an asker waits: the store's part of it.
const ANSWER_MARGIN: Duration = Duration::from_secs(5);

/// What a peer may use up (R16). Line lengths are `flare_core::protocol::line`'s.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Limits {
    /// Connections at a time (`max-connection`); further ones are accepted and closed without a
    /// word, as upstream does.
    pub connections: usize,
    /// Connections at a time from one address; further ones are closed likewise.
    pub connections_per_peer: usize,
    /// A connection on which nothing arrives for so long is closed.
    pub idle: Duration,
    /// A peer that does not take an answer for so long is closed.
    pub write: Duration,
    /// How long a change may take before its asker is told that it failed: the store or the
    /// topology is stuck then. A node waits 600 s by default.
    pub answer: Duration,
    /// How long the name in a command may take to be resolved (automatic mode only).
    pub resolve: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 8 * 1024,
            connections_per_peer: 2 * 1024,
            idle: Duration::from_secs(600),
            write: Duration::from_secs(10),
            // The core may hold a registration for a while before it answers.
            answer: Duration::from_millis(HELD_REGISTRATION_MILLIS) + ANSWER_MARGIN,
            resolve: Duration::from_secs(2),
        }
    }
}

/// What all sessions of a cluster share; nothing in it changes.
pub struct SessionHome {
    /// The committed map.
    pub published: watch::Receiver<Published>,
    /// Whom to ask for changes.
    pub topology: TopologyDoors,
    /// Whom to ask about connections and the process.
    pub listener: ListenerDoors,
    /// To find out whether a node itself is calling.
    pub network: Rc<dyn Network>,
    /// Where nodes were last reached, for the same.
    pub addresses: watch::Receiver<Addresses>,
    /// Who looks names up, for the same.
    pub names: Recipient<LookUp>,
    /// The time.
    pub clock: Clock,
    /// Where counts go.
    pub metrics: ClusterMetrics,
    /// The cluster's name, for logs.
    pub cluster: Arc<str>,
    /// Does it matter who asks (R15)? Not in manual mode.
    pub checks_origin: bool,
}

/// The messages of a topology that sessions send.
pub struct TopologyDoors {
    pub(crate) register: Recipient<RegisterNode>,
    pub(crate) set_role: Recipient<SetNodeRole>,
    pub(crate) set_state: Recipient<SetNodeState>,
    pub(crate) remove: Recipient<RemoveNode>,
    pub(crate) leave: Recipient<PrepareToLeave>,
    pub(crate) shutdown: Recipient<ShutdownNode>,
    pub(crate) stats_nodes: Recipient<GetStatsNodes>,
    pub(crate) links: Recipient<GetLinks>,
    pub(crate) kill_link: Recipient<KillLink>,
}

impl From<&Addr<TopologyActor>> for TopologyDoors {
    fn from(addr: &Addr<TopologyActor>) -> Self {
        Self {
            register: addr.clone().recipient(),
            set_role: addr.clone().recipient(),
            set_state: addr.clone().recipient(),
            remove: addr.clone().recipient(),
            leave: addr.clone().recipient(),
            shutdown: addr.clone().recipient(),
            stats_nodes: addr.clone().recipient(),
            links: addr.clone().recipient(),
            kill_link: addr.clone().recipient(),
        }
    }
}

/// The messages of the listener that sessions send.
pub struct ListenerDoors {
    pub(crate) threads: Recipient<GetThreads>,
    pub(crate) process: Recipient<GetProcessStats>,
    pub(crate) variables: Recipient<GetVariables>,
    pub(crate) kill: Recipient<KillThread>,
    pub(crate) ended: Recipient<SessionEnded>,
}

impl From<&Addr<ListenerActor>> for ListenerDoors {
    fn from(addr: &Addr<ListenerActor>) -> Self {
        Self {
            threads: addr.clone().recipient(),
            process: addr.clone().recipient(),
            variables: addr.clone().recipient(),
            kill: addr.clone().recipient(),
            ended: addr.clone().recipient(),
        }
    }
}
