//! The gauges, set from an overview at each scrape; see `crate::metrics` for why only here.

use std::collections::BTreeMap;

use flare_core::topology::Facts;
use metrics::gauge;

use super::view;
use crate::kind::{BLOCKED_KINDS, Kind};
use crate::manifest::ManifestStatus;
use crate::metrics::{
    BLOCKED, BUILD_INFO, CONNECTIONS, LAPSED_COPIES, MANIFEST_IN_FORCE, NODE_ACKNOWLEDGED_VERSION,
    NODE_ITEMS, NODE_LINKED, NODE_MAP_VERSION, NODES, PARTITIONS, PARTITIONS_WITHOUT_MASTER, READY,
    STORE_WAITING,
};
use crate::overview::{Overview, Sessions};

/// The program's own; known even when no actor answers.
pub(super) fn set_own(ready: bool) {
    gauge!(BUILD_INFO, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    gauge!(READY).set(from_bool(ready));
}

/// What the listener told.
pub(super) fn set_sessions(sessions: &Sessions) {
    gauge!(CONNECTIONS).set(from_count(sessions.open));
}

/// What the manifest's watcher told.
pub(super) fn set_manifest(status: &ManifestStatus) {
    let cluster = status.manifest.name.clone();
    gauge!(MANIFEST_IN_FORCE, "cluster" => cluster).set(from_bool(status.problem.is_none()));
}

/// What the topology told.
pub(super) fn set_overview(overview: &Overview) {
    let cluster = || std::sync::Arc::clone(&overview.cluster);
    gauge!(NODE_MAP_VERSION, "cluster" => cluster()).set(from_u64(overview.snapshot.version()));
    let partitions = view::partitions(overview);
    let unserved = partitions.iter().filter(|partition| !partition.served).count();
    gauge!(PARTITIONS, "cluster" => cluster()).set(from_count(partitions.len()));
    gauge!(PARTITIONS_WITHOUT_MASTER, "cluster" => cluster()).set(from_count(unserved));
    gauge!(STORE_WAITING, "cluster" => cluster()).set(overview.store_waits.as_secs_f64());
    set_counts(overview);
    let unknown = Facts::default();
    for (key, _) in overview.snapshot.entries() {
        let facts = overview.facts.get(key).unwrap_or(&unknown);
        let node = || key.to_string();
        gauge!(NODE_ACKNOWLEDGED_VERSION, "cluster" => cluster(), "node" => node())
            .set(from_u64(facts.acked));
        gauge!(NODE_LINKED, "cluster" => cluster(), "node" => node()).set(from_bool(facts.linked));
        if let Some(observed) = facts.observed {
            gauge!(NODE_ITEMS, "cluster" => cluster(), "node" => node())
                .set(from_u64(observed.items));
        }
    }
}

/// Nodes by role and state, and obstacles by kind; what was there once and is no more gets 0.
fn set_counts(overview: &Overview) {
    use flare_core::model::{Role, State};
    let mut nodes = BTreeMap::new();
    for role in [Role::Master, Role::Slave, Role::Proxy] {
        for state in [State::Active, State::Prepare, State::Down, State::Ready] {
            nodes.insert((role, state), 0);
        }
    }
    for (_, entry) in overview.snapshot.entries() {
        *nodes.entry((entry.role, entry.state)).or_insert(0) += 1;
    }
    for ((role, state), count) in nodes {
        let cluster = std::sync::Arc::clone(&overview.cluster);
        gauge!(NODES, "cluster" => cluster, "role" => role.word(), "state" => state.word())
            .set(from_count(count));
    }
    let copies = overview.snapshot.stored().nodes.values();
    let lapsed = copies.filter(|node| node.entry.role != Role::Proxy && node.lapse.is_some());
    gauge!(LAPSED_COPIES, "cluster" => std::sync::Arc::clone(&overview.cluster))
        .set(from_count(lapsed.count()));
    let mut blocked: BTreeMap<_, _> = BLOCKED_KINDS.iter().map(|kind| (*kind, 0)).collect();
    for obstacle in &overview.blocked {
        *blocked.entry(obstacle.kind()).or_insert(0) += 1;
    }
    for (kind, count) in blocked {
        let cluster = std::sync::Arc::clone(&overview.cluster);
        gauge!(BLOCKED, "cluster" => cluster, "kind" => kind).set(from_count(count));
    }
}

fn from_bool(holds: bool) -> f64 {
    if holds { 1.0 } else { 0.0 }
}

fn from_count(count: usize) -> f64 {
    from_u64(count as u64)
}

/// Prometheus knows only floats; above 2^53 the last digits are lost.
fn from_u64(number: u64) -> f64 {
    number as f64
}
