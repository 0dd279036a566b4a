//! The JSON of the admin interface: converted here, once, from our own types.
//!
//! The names are an interface: scripts read them. Fields are added, not renamed. Times are Unix
//! milliseconds, durations milliseconds, unless the name says otherwise.

mod breaker;
mod recovery;
mod sessions;

pub use breaker::{BreakerSettingsView, BreakerView, breaker};
use flare_core::model::{HashSettings, NodeKey, Role, State};
use flare_core::stored::{Lapse, LapseCause, StoredNode};
use flare_core::topology::{Blocked, Event, Facts, Mode, may_stop};
use serde::Serialize;

pub use recovery::{CandidateView, RecoveryView};
pub use sessions::*;

use super::sentence;
use crate::kind::Kind;
use crate::manifest::ManifestStatus;
use crate::overview::{EventRecord, Overview};
use crate::reduction::Reduction;

/// `GET /api/v1/topology`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TopologyView {
    /// The cluster's name.
    pub cluster: String,
    /// `automatic` or `manual`.
    pub mode: &'static str,
    /// The wanted shape; `null` in manual mode.
    pub wanted: Option<WantedView>,
    /// The version of the committed map.
    pub version: u64,
    /// The store's generation of it.
    pub generation: u64,
    /// Does `/readyz` answer 200?
    pub ready: bool,
    /// Why not.
    pub troubles: Vec<String>,
    /// One for each partition, by number.
    pub partitions: Vec<PartitionView>,
    /// All nodes, in Flare's order.
    pub nodes: Vec<NodeView>,
    /// What stands in the way of the wanted shape.
    pub blocked: Vec<BlockedView>,
    /// A refused reduction of partitions, with what would be lost.
    pub reduction: Option<Reduction>,
    /// What decides where keys lie; fixed for the cluster's life.
    pub hash: HashSettings,
    /// The manifest file, if there is one.
    pub manifest: Option<ManifestView>,
    /// Does `/api/v1/sandbox` answer?
    pub sandbox: bool,
}

/// The wanted shape.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WantedView {
    /// `spec.partitions`.
    pub partitions: u32,
    /// `spec.replicas`.
    pub replicas: u32,
    /// `spec.paused`.
    pub paused: bool,
}

/// One partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PartitionView {
    /// Its number.
    pub partition: i32,
    /// Its master, whatever its state.
    pub master: Option<NodeKey>,
    /// Its slaves, whatever their state.
    pub slaves: Vec<NodeKey>,
    /// Can its keys be written, as far as the map tells?
    pub served: bool,
    /// Copies that are active, the master included.
    pub active_copies: usize,
    /// The items its master shows; `null` when it was not asked yet.
    pub items: Option<u64>,
    /// What it may go on with, while its master is down or came back empty; else `null`.
    pub recovery: Option<RecoveryView>,
}

/// One node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeView {
    /// `name:port`.
    pub key: NodeKey,
    /// Its role.
    pub role: Role,
    /// Its state.
    pub state: State,
    /// Its partition; `null` for a proxy.
    pub partition: Option<i32>,
    /// The zone it lies in; `null` when nobody said so.
    pub zone: Option<String>,
    /// Its weight for reads.
    pub balance: i32,
    /// Its thread type.
    pub thread_type: u32,
    /// The highest map version that it acknowledged or showed.
    pub acknowledged: u64,
    /// Does the connection to it stand?
    pub linked: bool,
    /// Its `curr_items`; `null` when it was not asked yet.
    pub items: Option<u64>,
    /// Is it copying?
    pub copying: bool,
    /// Is it going to be stopped?
    pub leaving: bool,
    /// May it be stopped without taking a partition's master away?
    pub may_stop: bool,
    /// What is known against its copy; `null` for a whole one, and where there is none.
    pub lapse: Option<LapseView>,
    /// When its process began; `null` when it was not asked yet.
    pub started_unix_seconds: Option<i64>,
}

/// Why a copy may lack writes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LapseView {
    /// `silent`, `lostRole` or `unfinished`.
    pub cause: LapseCause,
    /// The version of the last map in which nothing was known against the copy.
    pub version: u64,
    /// When it began.
    pub since_unix_seconds: Option<u64>,
    /// For how long the node was silent; 0 when that is not the cause.
    pub silent_millis: u64,
    /// For a person.
    pub sentence: String,
}

/// One thing that stands in the way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BlockedView {
    /// Its word.
    pub kind: &'static str,
    /// How much it matters: `info`, `warning` or `error`.
    pub severity: &'static str,
    /// What it means and what to do.
    pub sentence: String,
}

/// The manifest file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ManifestView {
    /// Where it lies.
    pub path: String,
    /// When it was last read.
    pub read_at_unix_millis: u64,
    /// Is what lies there in force? Else `problem` says why not, and the last good one is.
    pub in_force: bool,
    /// What is wrong with the file.
    pub problem: Option<String>,
}

/// Converts what the topology told.
pub fn topology(
    overview: &Overview,
    manifest: Option<&ManifestStatus>,
    sandbox: bool,
) -> TopologyView {
    let wanted = match overview.mode {
        Mode::Manual => None,
        Mode::Automatic(wanted) => Some(WantedView {
            partitions: wanted.partitions,
            replicas: wanted.replicas,
            paused: wanted.paused,
        }),
    };
    let none = Facts::default();
    TopologyView {
        cluster: overview.cluster.to_string(),
        mode: if wanted.is_some() { "automatic" } else { "manual" },
        wanted,
        version: overview.snapshot.version(),
        generation: overview.snapshot.generation(),
        ready: overview.troubles.is_empty(),
        troubles: overview.troubles.clone(),
        partitions: partitions(overview),
        nodes: overview
            .snapshot
            .stored()
            .nodes
            .iter()
            .map(|(key, stored)| node(key, stored, overview.facts.get(key).unwrap_or(&none)))
            .collect(),
        blocked: overview.blocked.iter().map(blocked).collect(),
        reduction: Reduction::of(overview),
        hash: overview.snapshot.hash().clone(),
        manifest: manifest.map(manifest_view),
        sandbox,
    }
}

/// The partitions of the map: as many as the highest number that a master has, and one.
pub(super) fn partitions(overview: &Overview) -> Vec<PartitionView> {
    let entries = || overview.snapshot.entries();
    let masters = entries().filter(|(_, entry)| entry.role == Role::Master);
    let mut recoveries = recovery::recoveries(overview);
    let count = masters.map(|(_, entry)| entry.partition + 1).max().unwrap_or(0).max(0);
    let mut partitions: Vec<PartitionView> = (0..count)
        .map(|partition| PartitionView {
            partition,
            master: None,
            slaves: Vec::new(),
            served: false,
            active_copies: 0,
            items: None,
            recovery: recoveries.remove(&partition),
        })
        .collect();
    for (key, entry) in entries() {
        let place = usize::try_from(entry.partition).ok().and_then(|at| partitions.get_mut(at));
        let Some(partition) = place else { continue };
        partition.active_copies += usize::from(entry.state == State::Active);
        match entry.role {
            Role::Master => {
                partition.master = Some(key.clone());
                partition.served = entry.state == State::Active;
                let observed = overview.facts.get(key).and_then(|facts| facts.observed);
                partition.items = observed.map(|observed| observed.items);
            }
            Role::Slave => partition.slaves.push(key.clone()),
            Role::Proxy => {}
        }
    }
    partitions
}

fn node(key: &NodeKey, stored: &StoredNode, facts: &Facts) -> NodeView {
    let entry = &stored.entry;
    NodeView {
        key: key.clone(),
        role: entry.role,
        state: entry.state,
        partition: Some(entry.partition).filter(|partition| *partition >= 0),
        zone: facts.zone.as_ref().map(ToString::to_string),
        balance: entry.balance,
        thread_type: entry.thread_type,
        acknowledged: facts.acked,
        linked: facts.linked,
        items: facts.observed.map(|observed| observed.items),
        leaving: stored.leaving.is_some(),
        may_stop: may_stop(stored),
        lapse: stored.lapse.map(lapse),
        copying: facts.observed.is_some_and(|observed| observed.copying),
        started_unix_seconds: facts.observed.map(|observed| observed.incarnation.started),
    }
}

fn lapse(lapse: Lapse) -> LapseView {
    LapseView {
        cause: lapse.cause,
        version: lapse.version,
        since_unix_seconds: lapse.since_unix_seconds,
        silent_millis: lapse.silent_millis,
        sentence: sentence::of_lapse(&lapse),
    }
}

fn blocked(blocked: &Blocked) -> BlockedView {
    BlockedView {
        kind: blocked.kind(),
        severity: blocked_severity(blocked),
        sentence: sentence::of_blocked(blocked),
    }
}

fn manifest_view(status: &ManifestStatus) -> ManifestView {
    ManifestView {
        path: status.path.display().to_string(),
        read_at_unix_millis: status.read_at_unix_millis,
        in_force: status.problem.is_none(),
        problem: status.problem.clone(),
    }
}

/// The data of one event in `GET /api/v1/events`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EventView {
    /// Grows by one with every event of this process.
    pub number: u64,
    /// When it happened.
    pub at_unix_millis: u64,
    /// What kind of event.
    pub kind: &'static str,
    /// How much it matters: `info`, `warning` or `error`.
    pub severity: &'static str,
    /// The node that it is about, if it is about one.
    pub node: Option<NodeKey>,
    /// The map version that shows it, if one does.
    pub version: Option<u64>,
    /// For a person.
    pub sentence: String,
}

/// Converts one event.
pub fn event(record: &EventRecord) -> EventView {
    let event = record.event.as_ref();
    let (node, version) = match event {
        Event::NodeChanged { node, version, .. } | Event::VersionRaised { node, version, .. } => {
            (Some(node), Some(*version))
        }
        Event::NodeEmptied { node }
        | Event::Leaving { node, .. }
        | Event::ReportRecovered { node, .. }
        | Event::Lapsed { node, .. }
        | Event::CopyChosen { node, .. }
        | Event::LapsedPromoted { node, .. }
        | Event::Blocked(Blocked::MayHoldData { node } | Blocked::VersionJump { node, .. }) => {
            (Some(node), None)
        }
        _ => (None, None),
    };
    EventView {
        number: record.number,
        at_unix_millis: record.at_unix_millis,
        kind: event.kind(),
        severity: severity(event),
        node: node.cloned(),
        version,
        sentence: sentence::of_event(event),
    }
}

fn severity(event: &Event) -> &'static str {
    match event {
        Event::InvariantBroken { .. }
        | Event::StoreFailed { .. }
        | Event::LapsedPromoted { .. }
        | Event::BreakerChanged { open: true, .. } => "error",
        Event::Blocked(blocked) => blocked_severity(blocked),
        Event::NodeChanged { to: Some(entry), .. } if entry.state == State::Down => "warning",
        Event::NodeChanged { .. }
        | Event::Unblocked(_)
        | Event::NodeEmptied { .. }
        | Event::Leaving { .. }
        | Event::Handover { .. }
        | Event::BreakerChanged { open: false, .. } => "info",
        Event::VersionRaised { .. }
        | Event::Lapsed { .. }
        | Event::CopyChosen { .. }
        | Event::OrderRefused { .. }
        | Event::Warned { .. }
        | Event::ReportRecovered { .. } => "warning",
    }
}

/// An error is what keys are lost by, or cannot be written for.
fn blocked_severity(blocked: &Blocked) -> &'static str {
    match blocked {
        Blocked::PartitionReduction { .. }
        | Blocked::MasterDown { .. }
        | Blocked::CameBackEmpty { .. }
        | Blocked::BreakerOpen => "error",
        Blocked::GrowthWithinHint { .. }
        | Blocked::PartitionSize { .. }
        | Blocked::MissingNodes { .. }
        | Blocked::LeavingMaster { .. }
        | Blocked::OneZone { .. }
        | Blocked::CopyStalled { .. }
        | Blocked::NeedsRestart { .. }
        | Blocked::MapNotTaken { .. }
        | Blocked::Flapping { .. }
        | Blocked::MayHoldData { .. }
        | Blocked::VersionJump { .. } => "warning",
    }
}
