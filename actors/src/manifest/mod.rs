//! The FlareCluster manifest: the shape that a person wants, read from YAML (design.md 7).
//!
//! `schema` has the words of the file, `check` their ranges, `zones` what is said of zones,
//! `problem` the sentences for a person, `watch` re-reads the file when it changes. What comes out
//! is in our own types; nobody else reads YAML. Whether a wanted shape is carried out is the core's
//! decision, not ours.

mod check;
mod problem;
mod schema;
mod watch;
mod zones;

use std::collections::BTreeSet;
use std::time::Duration;

use flare_core::model::{HashAlgorithm, HashSettings, NodeKey};
use flare_core::policy::suspicion::LAPSE_MILLIS;
use flare_core::wanted::Wanted;
use flare_core::zones::Zones;

pub use check::*;
pub use problem::{Problem, Problems};
pub use watch::*;
pub use zones::{ZONE_MEMBERS_MAX, ZONE_NAME_LENGTH_MAX, ZONES_MAX};

/// The `apiVersion` that we understand.
pub const API_VERSION: &str = "flare.gree.net/v1alpha1";
/// The `kind` that we understand.
pub const KIND: &str = "FlareCluster";
/// The cluster's name where the manifest has none.
pub const DEFAULT_NAME: &str = "default";
/// The longest manifest that is read; etcd would not take a longer object either.
pub const MANIFEST_BYTES_MAX: u64 = 1 << 20;

/// A manifest that was read and checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// `metadata.name`, or [`DEFAULT_NAME`].
    pub name: String,
    /// `spec.partitions`, `spec.replicas`, `spec.paused`.
    pub wanted: Wanted,
    /// `spec.hash`.
    pub hash: HashWish,
    /// `spec.monitor`.
    pub monitor: Monitor,
    /// `spec.startupGraceSeconds`: nodes not heard from since the index started are not held
    /// dead for this long.
    pub startup_grace: Duration,
    /// `spec.circuitBreaker`.
    pub circuit_breaker: CircuitBreaker,
    /// `spec.nodes.leaving`: nodes that are to be stopped; they hand over what they have.
    pub leaving: BTreeSet<NodeKey>,
    /// `spec.nodes.zones`: which nodes lie in which zones, as far as it says.
    pub zones: Zones,
    /// `spec.clusterReplication`.
    pub cluster_replication: ClusterReplication,
}

impl Manifest {
    /// Reads and checks the text of a manifest.
    ///
    /// # Errors
    /// Everything that is wrong with it, with lines.
    pub fn parse(text: &str) -> Result<Self, Problems> {
        check::parse(text)
    }
}

/// The hash settings as far as the manifest names them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HashWish {
    /// `algorithm`.
    pub algorithm: Option<HashAlgorithm>,
    /// `partitionSize`.
    pub partition_size: Option<u32>,
    /// `modularHint`.
    pub modular_hint: Option<u32>,
    /// `modularVirtual`.
    pub modular_virtual: Option<u32>,
}

impl HashWish {
    /// The settings for a cluster that has none yet: what is not named gets its default.
    pub fn for_new_cluster(&self) -> HashSettings {
        let default = HashSettings::default();
        HashSettings {
            partition_size: self.partition_size.unwrap_or(default.partition_size),
            algorithm: self.algorithm.unwrap_or(default.algorithm),
            modular_hint: self.modular_hint.unwrap_or(default.modular_hint),
            modular_virtual: self.modular_virtual.unwrap_or(default.modular_virtual),
        }
    }

    /// Holds the wish against what the cluster was made with (R14). What is not named agrees
    /// with anything.
    ///
    /// # Errors
    /// A sentence for each setting that differs: it is fixed for the cluster's life.
    pub fn check_against(&self, stored: &HashSettings) -> Result<(), Problems> {
        let algorithm = self.algorithm.map(|wished| wished.word().to_owned());
        let text = |number: Option<u32>| number.map(|number| number.to_string());
        let fields = [
            ("algorithm", algorithm, stored.algorithm.word().to_owned()),
            ("partitionSize", text(self.partition_size), stored.partition_size.to_string()),
            ("modularHint", text(self.modular_hint), stored.modular_hint.to_string()),
            ("modularVirtual", text(self.modular_virtual), stored.modular_virtual.to_string()),
        ];
        let problems: Vec<_> = fields
            .into_iter()
            .filter_map(|(field, wished, stored)| {
                let wished = wished.filter(|wished| *wished != stored)?;
                let sentence = format!(
                    "spec.hash.{field} is {wished}, but this cluster was made with {stored}, and \
                     it decides where keys lie: put {stored} back, or build a new cluster with \
                     {wished} and copy the data into it"
                );
                Some(Problem { line: None, sentence })
            })
            .collect();
        if problems.is_empty() { Ok(()) } else { Err(Problems(problems)) }
    }
}

/// How nodes are watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Monitor {
    /// `intervalMillis`: from one ping to the next.
    pub interval: Duration,
    /// `readTimeoutMillis`: how long a ping may stay unanswered.
    pub read_timeout: Duration,
    /// `threshold`: so many misses in a row and the node is held dead.
    pub threshold: u32,
    /// `lapseMillis`: so long a silence of a slave that is not held dead leaves a hole in its copy
    /// (R5); zero: none does.
    pub lapse: Duration,
}

impl Default for Monitor {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(1),
            read_timeout: Duration::from_secs(1),
            threshold: 3,
            lapse: Duration::from_millis(LAPSE_MILLIS),
        }
    }
}

/// When automation stops because too much is dead at once (R11, design.md 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CircuitBreaker {
    /// `enabled`.
    pub enabled: bool,
    /// `tripThresholdPercent`: the share of assigned nodes that is dead when it trips.
    pub trip_threshold_percent: u32,
    /// `resetThresholdPercent`: the share that is healthy when it resets; more than
    /// 100 - `trip_threshold_percent`.
    pub reset_threshold_percent: u32,
    /// `autoResetEnabled`: else a person resets it.
    pub auto_reset_enabled: bool,
    /// `minDeadNodes`: with fewer dead ones it never trips.
    pub min_dead_nodes: u32,
}

impl Default for CircuitBreaker {
    fn default() -> Self {
        Self {
            enabled: true,
            trip_threshold_percent: 50,
            reset_threshold_percent: 80,
            auto_reset_enabled: true,
            min_dead_nodes: 2,
        }
    }
}

/// Copying to another cluster (flare-protocol.md 8).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterReplication {
    /// `enabled`.
    pub enabled: bool,
    /// `serverName`: a master or proxy of the other cluster.
    pub server_name: String,
    /// `port` of that node.
    pub port: u16,
    /// `mode`.
    pub mode: ReplicationMode,
    /// `concurrency`: connections to that node.
    pub concurrency: u32,
}

impl Default for ClusterReplication {
    fn default() -> Self {
        Self {
            enabled: false,
            server_name: String::new(),
            port: 12121,
            mode: ReplicationMode::Duplicate,
            concurrency: 2,
        }
    }
}

/// What a node does with requests when it copies to another cluster (flare-protocol.md 8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplicationMode {
    /// Carry them out here, and send the result there too.
    Duplicate,
    /// Send them there instead.
    Forward,
}
