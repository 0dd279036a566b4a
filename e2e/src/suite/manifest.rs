//! The manifest that a suite gives to an index in automatic mode.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// What the automatic mode should aim at: a FlareCluster manifest.
#[derive(Debug, Clone)]
pub struct Manifest {
    /// `spec.partitions`.
    pub partitions: u32,
    /// `spec.replicas`: copies of each partition, the master included.
    pub replicas: u32,
    /// `spec.monitor.intervalMillis`.
    pub interval_millis: u32,
    /// `spec.monitor.readTimeoutMillis`.
    pub read_timeout_millis: u32,
    /// `spec.monitor.threshold`.
    pub threshold: u32,
    /// `spec.monitor.lapseMillis`.
    pub lapse_millis: u32,
    /// `spec.startupGraceSeconds`: how long nobody is called dead that a new index has not heard.
    pub grace_seconds: u32,
    /// `spec.circuitBreaker.enabled`.
    pub breaker: bool,
    /// `spec.nodes.leaving`: nodes that are going to be stopped.
    pub leaving: Vec<String>,
    /// `spec.nodes.zones`: node keys by zone.
    pub zones: BTreeMap<String, Vec<String>>,
    /// `spec.paused`.
    pub paused: bool,
    /// `spec.circuitBreaker.autoResetEnabled`.
    pub breaker_resets: bool,
    /// `spec.promoteLapsed`.
    pub promote_lapsed: bool,
}

impl Manifest {
    /// A cluster of this shape, with the settings a manifest has by default.
    pub fn shape(partitions: u32, replicas: u32) -> Self {
        Self {
            partitions,
            replicas,
            interval_millis: 1000,
            read_timeout_millis: 1000,
            threshold: 3,
            lapse_millis: 18_000,
            grace_seconds: 30,
            breaker: true,
            leaving: Vec::new(),
            zones: BTreeMap::new(),
            paused: false,
            breaker_resets: true,
            promote_lapsed: true,
        }
    }

    /// With a watch that finds a hung node in about a second and a half, for suites that wait for
    /// it, and a grace of two seconds. Not shorter: a busy machine must not look like deaths.
    #[must_use]
    pub fn quick(mut self) -> Self {
        self.interval_millis = 250;
        self.read_timeout_millis = 500;
        self.grace(2)
    }

    /// With other limits of silence: how many missed pings are a death, and how long a slave may be
    /// silent before it has lapsed.
    #[must_use]
    pub fn silence(mut self, threshold: u32, lapse_millis: u32) -> Self {
        (self.threshold, self.lapse_millis) = (threshold, lapse_millis);
        self
    }

    /// With a circuit breaker that only a person closes.
    #[must_use]
    pub fn without_auto_reset(mut self) -> Self {
        self.breaker_resets = false;
        self
    }

    /// With copies that lack something taking over only when a person says so.
    #[must_use]
    pub fn without_lapsed_masters(mut self) -> Self {
        self.promote_lapsed = false;
        self
    }

    /// Without the circuit breaker, for suites that kill more nodes than it would stand.
    #[must_use]
    pub fn without_breaker(mut self) -> Self {
        self.breaker = false;
        self
    }

    /// With another startup grace, for suites that let nodes die while the index is dead.
    #[must_use]
    pub fn grace(mut self, seconds: u32) -> Self {
        self.grace_seconds = seconds;
        self
    }

    /// With nodes that are to leave.
    #[must_use]
    pub fn without(mut self, nodes: &[String]) -> Self {
        self.leaving = nodes.to_vec();
        self
    }

    /// With these nodes in these zones.
    #[must_use]
    pub fn zoned(mut self, nodes: impl IntoIterator<Item = (String, String)>) -> Self {
        self.zones.clear();
        for (node, zone) in nodes {
            self.zones.entry(zone).or_default().push(node);
        }
        self
    }

    /// The manifest as YAML.
    pub fn yaml(&self) -> String {
        let mut text = String::from(
            "apiVersion: flare.gree.net/v1alpha1\nkind: FlareCluster\n\
             metadata:\n  name: suite\nspec:\n",
        );
        let Self { partitions, replicas, interval_millis: interval, grace_seconds, .. } = self;
        let Self { read_timeout_millis: timeout, threshold, breaker, .. } = self;
        let Self { breaker_resets, leaving, zones, paused, .. } = self;
        let Self { lapse_millis: lapse, promote_lapsed, .. } = self;
        write!(
            text,
            "  partitions: {partitions}\n  replicas: {replicas}\n  paused: {paused}\n  \
             monitor: {{intervalMillis: {interval}, readTimeoutMillis: {timeout}, \
             threshold: {threshold}, \
             lapseMillis: {lapse}}}\n  startupGraceSeconds: {grace_seconds}\n  \
             circuitBreaker: {{enabled: {breaker}, autoResetEnabled: {breaker_resets}}}\n  \
             nodes: {{leaving: {leaving:?}, zones: {zones:?}}}\n  \
             promoteLapsed: {promote_lapsed}\n"
        )
        .expect("writing to a string cannot fail");
        text
    }
}
