//! Every metric that the index exports: its name, what it means, and the only way to move it.
//!
//! Counters and histograms are moved by the actor to which something happens, through
//! [`ClusterMetrics`]. Gauges are set by the metrics server from an overview, at each scrape: a
//! node that was removed stops being set, and its series ends with [`GAUGE_LIFE`]. Label values
//! come from [`Kind`], from our own words, or from the node map, which is bounded; never from
//! anything that an outsider wrote.

use std::sync::Arc;
use std::time::Duration;

use flare_core::topology::{DownReason, Event, Refusal, StoreFailure};
use metrics::{
    Counter, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram,
};
use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusHandle};
use metrics_util::MetricKindMask;

use crate::kind::Kind;

/// How long a gauge stays visible after it was last set: longer than usual scrape intervals, so
/// that nothing flickers, short enough that a removed node is soon gone.
pub const GAUGE_LIFE: Duration = Duration::from_secs(120);

/// How often old samples of histograms are folded away; scrapes do it too.
pub const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// Bucket bounds of all histograms, in seconds: from a step of the core (microseconds) to a
/// deadline (seconds).
pub const BUCKETS_SECONDS: [f64; 15] = [
    0.000_01, 0.000_05, 0.000_1, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5,
    1.0, 5.0,
];

/// Time that one step of the core took, from input to step.
pub const RECONCILE_DURATION: &str = "flare_operator_reconcile_duration_seconds";
/// The version of the committed map.
pub const NODE_MAP_VERSION: &str = "flare_operator_node_map_version";
/// Nodes that were marked down, by why.
pub const DEAD_NODES_DETECTED: &str = "flare_operator_dead_nodes_detected_total";
/// Maps that were released to be pushed.
pub const TOPOLOGY_BROADCASTS: &str = "flare_operator_topology_broadcasts_total";
/// Nodes in the committed map, by role and state. A gauge in spite of its suffix: design.md 5
/// fixes the name.
pub const NODES: &str = "flare_operator_nodes_total";
/// Time from the first byte of a push to the node's `OK`.
pub const PUSH_DURATION: &str = "flare_operator_push_duration_seconds";
/// Pushes that a node did not acknowledge, by why.
pub const PUSHES_FAILED: &str = "flare_operator_pushes_failed_total";
/// Time from a ping to its answer.
pub const PING_DURATION: &str = "flare_operator_ping_duration_seconds";
/// Pings without a good answer, by why.
pub const PINGS_MISSED: &str = "flare_operator_pings_missed_total";
/// Time that a write to the store took, until it was safe.
pub const STORE_WRITE_DURATION: &str = "flare_operator_store_write_duration_seconds";
/// How long the write that the store has in hand has been waited for.
pub const STORE_WAITING: &str = "flare_operator_store_waiting_seconds";
/// Writes that the store refused, by why.
pub const STORE_FAILURES: &str = "flare_operator_store_failures_total";
/// Connections that were accepted on the index port.
pub const CONNECTIONS_ACCEPTED: &str = "flare_operator_connections_accepted_total";
/// Connections that were closed because of a limit, by the limit.
pub const CONNECTIONS_REFUSED: &str = "flare_operator_connections_refused_total";
/// Connections that are open on the index port.
pub const CONNECTIONS: &str = "flare_operator_connections";
/// Requests that were read on the index port, by command.
pub const REQUESTS: &str = "flare_operator_requests_total";
/// Changes that were refused, by why.
pub const REFUSALS: &str = "flare_operator_refusals_total";
/// Events of the topology, by kind.
pub const EVENTS: &str = "flare_operator_events_total";
/// The highest version that a node acknowledged or showed.
pub const NODE_ACKNOWLEDGED_VERSION: &str = "flare_operator_node_acknowledged_version";
/// `curr_items` of a node, as last seen.
pub const NODE_ITEMS: &str = "flare_operator_node_items";
/// Does the connection to the node stand?
pub const NODE_LINKED: &str = "flare_operator_node_linked";
/// Copies that lapsed (R5): they may lack writes, and are to be made again.
pub const LAPSED_COPIES: &str = "flare_operator_lapsed_copies";
/// Partitions in the committed map.
pub const PARTITIONS: &str = "flare_operator_partitions";
/// Partitions whose master is down.
pub const PARTITIONS_WITHOUT_MASTER: &str = "flare_operator_partitions_without_master";
/// Things that stand in the way of the wanted shape, by kind.
pub const BLOCKED: &str = "flare_operator_blocked";
/// 1 when `/readyz` answers 200.
pub const READY: &str = "flare_operator_ready";
/// 1 when the manifest file as it is on disk is the one in force.
pub const MANIFEST_IN_FORCE: &str = "flare_operator_manifest_in_force";
/// Readings of the manifest file, by outcome.
pub const MANIFEST_READS: &str = "flare_operator_manifest_reads_total";
/// Readers of the event stream that were dropped because they read too slowly.
pub const EVENT_READERS_DROPPED: &str = "flare_operator_event_readers_dropped_total";
/// Always 1; the label tells the version of the program.
pub const BUILD_INFO: &str = "flare_operator_build_info";

/// Why a ping or a push had no good answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Miss {
    /// Nothing came within the deadline.
    Timeout,
    /// The port refuses connections.
    Refused,
    /// The connection ended before the answer.
    Ended,
    /// The node answered with an error.
    Sick,
}

impl Kind for Miss {
    fn kind(&self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Refused => "refused",
            Self::Ended => "ended",
            Self::Sick => "sick",
        }
    }
}

/// The counters and histograms of one cluster. Cheap to clone: each actor keeps its own.
#[derive(Clone)]
pub struct ClusterMetrics {
    cluster: Arc<str>,
    reconcile: Histogram,
    broadcasts: Counter,
    push: Histogram,
    ping: Histogram,
    store_write: Histogram,
    accepted: Counter,
    /// One for each word of [`COMMANDS`]: looked up by it at every request, so not by its labels.
    requests: Arc<[Counter]>,
}

/// What is not a command.
pub const UNKNOWN_COMMAND: &str = "unknown";

/// The labels of [`REQUESTS`]: `Request::name`, and [`UNKNOWN_COMMAND`].
pub const COMMANDS: [&str; 15] = [
    "stats",
    "ping",
    "node_state",
    "node_add",
    "node_role",
    "node_remove",
    "node_leave",
    "shutdown",
    "meta",
    "version",
    "show",
    "kill",
    "verbosity",
    "quit",
    UNKNOWN_COMMAND,
];

impl ClusterMetrics {
    /// The metrics of the cluster of this name; the name becomes the label `cluster`.
    pub fn new(cluster: Arc<str>) -> Self {
        let label = || Arc::clone(&cluster);
        Self {
            reconcile: metrics::histogram!(RECONCILE_DURATION, "cluster" => label()),
            broadcasts: counter!(TOPOLOGY_BROADCASTS, "cluster" => label()),
            push: metrics::histogram!(PUSH_DURATION, "cluster" => label()),
            ping: metrics::histogram!(PING_DURATION, "cluster" => label()),
            store_write: metrics::histogram!(STORE_WRITE_DURATION, "cluster" => label()),
            accepted: counter!(CONNECTIONS_ACCEPTED, "cluster" => label()),
            requests: COMMANDS
                .map(|command| counter!(REQUESTS, "cluster" => label(), "command" => command))
                .into(),
            cluster,
        }
    }

    /// The core took this long for one input.
    pub fn reconciled(&self, took: Duration) {
        self.reconcile.record(took);
    }

    /// A map was released to be pushed to its nodes.
    pub fn broadcast(&self) {
        self.broadcasts.increment(1);
    }

    /// A node acknowledged a push this long after its first byte was written.
    pub fn push_acknowledged(&self, took: Duration) {
        self.push.record(took);
    }

    /// A push was not acknowledged; it is retried.
    pub fn push_failed(&self, miss: Miss) {
        self.count(PUSHES_FAILED, miss.kind());
    }

    /// A ping was answered after this long.
    pub fn ping_answered(&self, took: Duration) {
        self.ping.record(took);
    }

    /// A ping, or the attempt to connect for one, failed.
    pub fn ping_missed(&self, miss: Miss) {
        self.count(PINGS_MISSED, miss.kind());
    }

    /// A node was marked down.
    pub fn node_died(&self, reason: DownReason) {
        self.count(DEAD_NODES_DETECTED, reason.kind());
    }

    /// The store holds a generation, this long after it was handed over.
    pub fn stored(&self, took: Duration) {
        self.store_write.record(took);
    }

    /// The store refused a generation.
    pub fn store_failed(&self, failure: &StoreFailure) {
        self.count(STORE_FAILURES, failure.kind());
    }

    /// A change was refused, whoever asked.
    pub fn refused(&self, refusal: &Refusal) {
        self.count(REFUSALS, refusal.kind());
    }

    /// A connection was accepted on the index port.
    pub fn connection_accepted(&self) {
        self.accepted.increment(1);
    }

    /// A connection was closed at once because of this limit (the limit's name, a constant).
    pub fn connection_refused(&self, limit: &'static str) {
        counter!(CONNECTIONS_REFUSED, "cluster" => Arc::clone(&self.cluster), "limit" => limit)
            .increment(1);
    }

    /// A request was read. `command` is one of [`COMMANDS`]; any other word counts as unknown.
    pub fn requested(&self, command: &'static str) {
        let at = COMMANDS.iter().position(|word| *word == command).unwrap_or(COMMANDS.len() - 1);
        self.requests[at].increment(1);
    }

    /// The topology told of something.
    pub fn happened(&self, event: &Event) {
        self.count(EVENTS, event.kind());
    }

    /// The manifest file was read: `accepted`, or `rejected` and the last good one stays.
    pub fn manifest_read(&self, accepted: bool) {
        self.count(MANIFEST_READS, if accepted { "accepted" } else { "rejected" });
    }

    /// The cluster's name.
    pub fn cluster(&self) -> &Arc<str> {
        &self.cluster
    }

    fn count(&self, name: &'static str, kind: &'static str) {
        counter!(name, "cluster" => Arc::clone(&self.cluster), "kind" => kind).increment(1);
    }
}

/// Renders what was recorded, as Prometheus reads it.
#[derive(Clone)]
pub struct Exporter {
    handle: PrometheusHandle,
}

impl Exporter {
    /// Makes this process record its metrics; once per process, before actors start.
    ///
    /// # Errors
    /// When the process already records them.
    pub fn install() -> Result<Self, BuildError> {
        let handle = PrometheusBuilder::new()
            .set_buckets(&BUCKETS_SECONDS)?
            .idle_timeout(MetricKindMask::GAUGE, Some(GAUGE_LIFE))
            .install_recorder()?;
        describe();
        metrics::gauge!(BUILD_INFO, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
        Ok(Self { handle })
    }

    /// The text of a scrape.
    pub fn render(&self) -> String {
        self.handle.render()
    }

    /// Folds samples away; to be called every [`UPKEEP_INTERVAL`], so that histograms that
    /// nobody scrapes do not grow.
    pub fn upkeep(&self) {
        self.handle.run_upkeep();
    }
}

fn describe() {
    for (name, text) in COUNTERS {
        describe_counter!(name, text);
    }
    for (name, text) in GAUGES {
        describe_gauge!(name, text);
    }
    for (name, text) in HISTOGRAMS {
        describe_histogram!(name, Unit::Seconds, text);
    }
}

/// Every counter with its description, as `/metrics` shows it.
pub const COUNTERS: [(&str, &str); 12] = [
    (DEAD_NODES_DETECTED, "Nodes that were marked down, by why."),
    (TOPOLOGY_BROADCASTS, "Node maps that were released to be pushed to the nodes."),
    (PUSHES_FAILED, "Pushes of a map that a node did not acknowledge, by why; they are retried."),
    (PINGS_MISSED, "Pings of nodes that had no good answer, by why."),
    (STORE_FAILURES, "Writes of the node map that the store refused, by why."),
    (CONNECTIONS_ACCEPTED, "Connections that were accepted on the index port."),
    (CONNECTIONS_REFUSED, "Connections on the index port that a limit closed, by limit."),
    (REQUESTS, "Requests that were read on the index port, by command."),
    (REFUSALS, "Changes of the node map that were refused, by why."),
    (EVENTS, "Events of the topology, by kind; the log has one line for each."),
    (MANIFEST_READS, "Readings of the manifest file: accepted, or rejected and the old one kept."),
    (EVENT_READERS_DROPPED, "Readers of the event stream that were dropped for being too slow."),
];

/// Every gauge with its description.
pub const GAUGES: [(&str, &str); 14] = [
    (NODE_MAP_VERSION, "Version of the committed node map."),
    (NODES, "Nodes in the committed map, by role and state."),
    (CONNECTIONS, "Connections that are open on the index port."),
    (NODE_ACKNOWLEDGED_VERSION, "Highest map version that the node acknowledged or showed."),
    (NODE_ITEMS, "Items that the node says it holds; absent while it was never asked."),
    (NODE_LINKED, "1 while the index's connection to the node stands, else 0."),
    (LAPSED_COPIES, "Copies that may lack writes, until they are made again (R5)."),
    (PARTITIONS, "Partitions in the committed map."),
    (PARTITIONS_WITHOUT_MASTER, "Partitions whose master is down: their keys cannot be written."),
    (BLOCKED, "Things that stand in the way of the wanted shape, by kind."),
    (STORE_WAITING, "How long the store has had its write in hand; 0 without one."),
    (READY, "1 while /readyz answers 200, else 0."),
    (MANIFEST_IN_FORCE, "1 while the manifest file on disk is the one in force, else 0."),
    (BUILD_INFO, "Always 1; the label is the version of the program."),
];

/// Every histogram with its description; all of them measure seconds.
pub const HISTOGRAMS: [(&str, &str); 4] = [
    (RECONCILE_DURATION, "Time that the core took to decide on one input."),
    (PUSH_DURATION, "Time from the start of a push to the node's acknowledgement."),
    (PING_DURATION, "Time from a ping to the node's answer."),
    (STORE_WRITE_DURATION, "Time that a write of the node map took until it was safe."),
];
