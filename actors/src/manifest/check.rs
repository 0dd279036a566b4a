//! From the words of the file to a [`Manifest`]: ranges, defaults, and settings that must fit
//! each other. All problems are gathered, so that a person mends a file once.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::time::Duration;

use flare_core::model::{HashAlgorithm, HashSettings, NodeKey};
use flare_core::protocol::words::name_is_usable;
use flare_core::wanted::Wanted;

use super::problem::{Gathered, Problems};
use super::schema::{self, Document, Number};
use super::{
    API_VERSION, CircuitBreaker, ClusterReplication, DEFAULT_NAME, HashWish, KIND, Manifest,
    Monitor, ReplicationMode, zones,
};

/// `replicas`: each copy costs the master one connection and one message per write.
pub const REPLICAS: RangeInclusive<i64> = 1..=64;
/// `hash.partitionSize`: two rows are one usable partition (flare-protocol.md 1.8); the table
/// takes partitionSize x modularVirtual x 4 bytes in every node.
pub const PARTITION_SIZE: RangeInclusive<i64> = 2..=65_536;
/// `hash.modularVirtual`.
pub const MODULAR_VIRTUAL: RangeInclusive<i64> = 1..=1_048_576;
/// The largest resolver table, in bytes; every node builds it at start (flare-protocol.md 1.8).
pub const RESOLVER_TABLE_BYTES_MAX: u64 = 1 << 30;
/// `monitor.intervalMillis`: shorter is load without use, longer is no monitoring.
pub const MONITOR_MILLIS: RangeInclusive<i64> = 10..=600_000;
/// `monitor.threshold`.
pub const MONITOR_THRESHOLD: RangeInclusive<i64> = 1..=1_000;
/// `monitor.lapseMillis`; 0 switches it off.
pub const MONITOR_LAPSE_MILLIS: RangeInclusive<i64> = 0..=3_600_000;
/// `startupGraceSeconds`; 0 switches it off.
pub const STARTUP_GRACE_SECONDS: RangeInclusive<i64> = 0..=3_600;
/// Percentages of the circuit breaker.
pub const PERCENT: RangeInclusive<i64> = 1..=100;
/// `circuitBreaker.minDeadNodes`.
pub const MIN_DEAD_NODES: RangeInclusive<i64> = 1..=100_000;
/// TCP ports that one can name.
pub const PORT: RangeInclusive<i64> = 1..=65_535;
/// `clusterReplication.concurrency`.
pub const REPLICATION_CONCURRENCY: RangeInclusive<i64> = 1..=1_024;
/// The longest name of a cluster: that of a DNS label, since Services are named after it.
pub const NAME_LENGTH_MAX: usize = 63;

pub(super) fn parse(text: &str) -> Result<Manifest, Problems> {
    if text.trim().is_empty() {
        return Err(Problems::one(format!(
            "the manifest is empty: it needs apiVersion: {API_VERSION}, kind: {KIND} and a spec"
        )));
    }
    let options = serde_saphyr::options! { with_snippet: false };
    let document: Document = serde_saphyr::from_str_with_options(text, options)
        .map_err(|error| Problems::of_reader(&error, text))?;
    let mut gathered = Gathered::default();
    let manifest = check(&document, &mut gathered);
    gathered.finish().map(|()| manifest)
}

/// Fields that are wrong get some value, so that the rest can be checked too; the caller throws
/// the result away when anything was gathered.
fn check(document: &Document, gathered: &mut Gathered) -> Manifest {
    if document.api_version.value != API_VERSION {
        let found = &document.api_version.value;
        gathered.at(&document.api_version, format!("apiVersion is {found}, not {API_VERSION}"));
    }
    if document.kind.value != KIND {
        let found = &document.kind.value;
        gathered.at(&document.kind, format!("kind is {found}, not {KIND}"));
    }
    let spec = &document.spec;
    let hash = hash(&spec.hash, gathered);
    check_nodes(&spec.nodes, gathered);
    Manifest {
        name: name(&document.metadata, gathered),
        wanted: wanted(spec, &hash.for_new_cluster(), gathered),
        hash,
        monitor: monitor(&spec.monitor, gathered),
        startup_grace: number(
            "spec.startupGraceSeconds",
            &spec.startup_grace_seconds,
            STARTUP_GRACE_SECONDS,
            gathered,
        )
        .map_or(Duration::from_secs(30), |seconds| Duration::from_secs(seconds.into())),
        circuit_breaker: circuit_breaker(&spec.circuit_breaker, gathered),
        leaving: leaving(&spec.nodes.leaving, gathered),
        zones: zones::zones(&spec.nodes.zones, gathered),
        cluster_replication: cluster_replication(&spec.cluster_replication, gathered),
    }
}

fn name(metadata: &schema::Metadata, gathered: &mut Gathered) -> String {
    let Some(name) = &metadata.name else { return DEFAULT_NAME.to_owned() };
    let text = name.value.as_str();
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let fits = !text.is_empty()
        && text.len() <= NAME_LENGTH_MAX
        && text.chars().all(plain)
        && !text.starts_with('-')
        && !text.ends_with('-');
    if !fits {
        gathered.at(
            name,
            format!(
                "metadata.name is `{text}`: it must have 1 to {NAME_LENGTH_MAX} characters, small \
                 letters, digits and inner hyphens only, since Services are named after it"
            ),
        );
    }
    text.to_owned()
}

fn wanted(spec: &schema::Spec, hash: &HashSettings, gathered: &mut Gathered) -> Wanted {
    let most = i64::from(hash.partition_size) - 1;
    let partitions = spec.partitions.value;
    if partitions < 1 {
        let sentence = format!("spec.partitions is {partitions}: it must be at least 1");
        gathered.at(&spec.partitions, sentence);
    } else if partitions > most {
        gathered.at(
            &spec.partitions,
            format!(
                "spec.partitions is {partitions}: it must be below spec.hash.partitionSize ({}), \
                 so at most {most}",
                hash.partition_size
            ),
        );
    } else if partitions > i64::from(hash.modular_virtual) {
        gathered.at(
            &spec.partitions,
            format!(
                "spec.partitions is {partitions}: with spec.hash.modularVirtual {} some of them \
                 would get no keys; raise modularVirtual for a new cluster, or ask for fewer",
                hash.modular_virtual
            ),
        );
    }
    let replicas = spec.replicas.value;
    if !REPLICAS.contains(&replicas) {
        let range = words(&REPLICAS);
        gathered.at(
            &spec.replicas,
            format!("spec.replicas is {replicas}: it must be {range} (the master is one of them)"),
        );
    }
    Wanted {
        partitions: u32::try_from(partitions).unwrap_or(1),
        replicas: u32::try_from(replicas).unwrap_or(1),
        paused: spec.paused,
        promote_lapsed: spec.promote_lapsed.unwrap_or(true),
    }
}

fn hash(raw: &schema::Hash, gathered: &mut Gathered) -> HashWish {
    let size = number("spec.hash.partitionSize", &raw.partition_size, PARTITION_SIZE, gathered);
    let rows = i64::from(size.unwrap_or(HashSettings::default().partition_size));
    let slots = number("spec.hash.modularVirtual", &raw.modular_virtual, MODULAR_VIRTUAL, gathered);
    let wish = HashWish {
        algorithm: raw.algorithm.as_ref().and_then(|word| algorithm(word, gathered)),
        partition_size: size,
        // flared reads row 0 of its table with a hint of 0, and crashes (flare-protocol.md 1.8).
        modular_hint: number("spec.hash.modularHint", &raw.modular_hint, 1..=rows - 1, gathered),
        modular_virtual: slots,
    };
    let settings = wish.for_new_cluster();
    let bytes = u64::from(settings.partition_size) * u64::from(settings.modular_virtual) * 4;
    if bytes > RESOLVER_TABLE_BYTES_MAX {
        gathered.whole(format!(
            "spec.hash asks every node for a table of {bytes} bytes (partitionSize x \
             modularVirtual x 4); the most is {RESOLVER_TABLE_BYTES_MAX}"
        ));
    }
    wish
}

fn algorithm(
    word: &serde_saphyr::Spanned<String>,
    gathered: &mut Gathered,
) -> Option<HashAlgorithm> {
    let algorithm = HashAlgorithm::from_word(&word.value);
    if algorithm.is_none() {
        let found = &word.value;
        gathered.at(
            word,
            format!("spec.hash.algorithm is `{found}`: it must be simple, crc32 or jenkins"),
        );
    }
    algorithm
}

fn monitor(raw: &schema::Monitor, gathered: &mut Gathered) -> Monitor {
    let default = Monitor::default();
    let millis = |count: u32| Duration::from_millis(count.into());
    let interval =
        number("spec.monitor.intervalMillis", &raw.interval_millis, MONITOR_MILLIS, gathered);
    let timeout = number(
        "spec.monitor.readTimeoutMillis",
        &raw.read_timeout_millis,
        MONITOR_MILLIS,
        gathered,
    );
    let threshold = number("spec.monitor.threshold", &raw.threshold, MONITOR_THRESHOLD, gathered);
    let lapse =
        number("spec.monitor.lapseMillis", &raw.lapse_millis, MONITOR_LAPSE_MILLIS, gathered);
    Monitor {
        interval: interval.map_or(default.interval, millis),
        read_timeout: timeout.map_or(default.read_timeout, millis),
        threshold: threshold.unwrap_or(default.threshold),
        lapse: lapse.map_or(default.lapse, millis),
    }
}

fn circuit_breaker(raw: &schema::CircuitBreaker, gathered: &mut Gathered) -> CircuitBreaker {
    let default = CircuitBreaker::default();
    let at = "spec.circuitBreaker";
    let trip = number(
        &format!("{at}.tripThresholdPercent"),
        &raw.trip_threshold_percent,
        PERCENT,
        gathered,
    )
    .unwrap_or(default.trip_threshold_percent);
    let reset = number(
        &format!("{at}.resetThresholdPercent"),
        &raw.reset_threshold_percent,
        PERCENT,
        gathered,
    )
    .unwrap_or(default.reset_threshold_percent);
    let least =
        number(&format!("{at}.minDeadNodes"), &raw.min_dead_nodes, MIN_DEAD_NODES, gathered);
    // With trip + reset at 100 or less it would reset in the moment it trips.
    if trip + reset <= 100 {
        let sentence = format!(
            "{at} would open and close at once: with tripThresholdPercent {trip}, \
             resetThresholdPercent must be more than {} (100 - {trip}), and is {reset}; pairs that \
             work are 50/80 and 30/75",
            100_u32.saturating_sub(trip)
        );
        match raw.reset_threshold_percent.as_ref().or(raw.trip_threshold_percent.as_ref()) {
            Some(field) => gathered.at(field, sentence),
            None => gathered.whole(sentence),
        }
    }
    CircuitBreaker {
        enabled: raw.enabled.unwrap_or(default.enabled),
        trip_threshold_percent: trip,
        reset_threshold_percent: reset,
        auto_reset_enabled: raw.auto_reset_enabled.unwrap_or(default.auto_reset_enabled),
        min_dead_nodes: least.unwrap_or(default.min_dead_nodes),
    }
}

fn cluster_replication(
    raw: &schema::ClusterReplication,
    gathered: &mut Gathered,
) -> ClusterReplication {
    let default = ClusterReplication::default();
    let at = "spec.clusterReplication";
    let server_name = raw.server_name.as_ref().map_or_else(String::new, |name| name.value.clone());
    if let Some(enabled) = raw.enabled.as_ref().filter(|enabled| enabled.value)
        && server_name.is_empty()
    {
        let sentence = format!("{at}.enabled is true, but {at}.serverName is empty");
        gathered.at(enabled, sentence);
    }
    if let Some(name) = &raw.server_name
        && name.value.contains(|c: char| c.is_whitespace() || c == ':')
    {
        let found = &name.value;
        let sentence =
            format!("{at}.serverName is `{found}`: it must be a host name or an address");
        gathered.at(name, sentence);
    }
    let mode = match raw.mode.as_ref().map(|mode| (mode, mode.value.as_str())) {
        None => default.mode,
        Some((_, "duplicate")) => ReplicationMode::Duplicate,
        Some((_, "forward")) => ReplicationMode::Forward,
        Some((mode, found)) => {
            let sentence = format!("{at}.mode is `{found}`: it must be duplicate or forward");
            gathered.at(mode, sentence);
            default.mode
        }
    };
    let concurrency =
        number(&format!("{at}.concurrency"), &raw.concurrency, REPLICATION_CONCURRENCY, gathered);
    let port = number(&format!("{at}.port"), &raw.port, PORT, gathered);
    ClusterReplication {
        enabled: raw.enabled.as_ref().is_some_and(|enabled| enabled.value),
        server_name,
        port: port.and_then(|port| u16::try_from(port).ok()).unwrap_or(default.port),
        mode,
        concurrency: concurrency.unwrap_or(default.concurrency),
    }
}

fn check_nodes(raw: &schema::Nodes, gathered: &mut Gathered) {
    number("spec.nodes.port", &raw.port, PORT, gathered);
    if let Some(kind) = &raw.storage.kind
        && !["persistent", "memory"].contains(&kind.value.as_str())
    {
        let found = &kind.value;
        gathered.at(
            kind,
            format!("spec.nodes.storage.type is `{found}`: it must be persistent or memory"),
        );
    }
}

fn leaving(raw: &[serde_saphyr::Spanned<String>], gathered: &mut Gathered) -> BTreeSet<NodeKey> {
    let mut nodes = BTreeSet::new();
    for text in raw {
        let found = &text.value;
        match NodeKey::parse(found).filter(|key| name_is_usable(key.name())) {
            Some(node) => {
                nodes.insert(node);
            }
            None => gathered.at(
                text,
                format!(
                    "spec.nodes.leaving has `{found}`: a node is named name:port, such as \
                     10.0.0.7:12121"
                ),
            ),
        }
    }
    nodes
}

/// The number of a field, if it is there and within its range; else the problem is noted.
fn number(
    field: &str,
    raw: &Number,
    range: RangeInclusive<i64>,
    gathered: &mut Gathered,
) -> Option<u32> {
    let raw = raw.as_ref()?;
    if !range.contains(&raw.value) {
        let found = raw.value;
        gathered.at(raw, format!("{field} is {found}: it must be {}", words(&range)));
        return None;
    }
    u32::try_from(raw.value).ok()
}

fn words(range: &RangeInclusive<i64>) -> String {
    format!("{} to {}", range.start(), range.end())
}
