//! What the failover actor of a cluster can be told.

use std::sync::Arc;

use actix::Message;
use flare_core::model::NodeKey;
use flare_core::policy::breaker::{Breaker, BreakerSettings, Census};
use flare_core::policy::suspicion::{Evidence, MonitorSettings};
use flare_core::topology::Snapshot;

/// A link has learnt something about whether its node is alive.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct EvidenceSeen {
    /// The node.
    pub node: NodeKey,
    /// What was seen.
    pub evidence: Evidence,
}

/// The topology has published a map.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct MapPublished {
    /// The map.
    pub snapshot: Arc<Snapshot>,
}

/// How nodes are watched changed, or when too many are dead (SIGHUP, manifest).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct ChangeSettings {
    /// How nodes are watched.
    pub monitoring: MonitorSettings,
    /// When too many are dead.
    pub breaking: BreakerSettings,
}

/// A person closes the circuit breaker (R11).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct ResetBreaker;

/// Asks what the circuit breaker is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Message)]
#[rtype(result = "BreakerStatus")]
pub struct GetBreaker;

/// The answer to [`GetBreaker`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerStatus {
    /// What it is doing.
    pub breaker: Breaker,
    /// What it last counted.
    pub census: Census,
    /// When it trips and resets; not enabled in manual mode.
    pub settings: BreakerSettings,
}
