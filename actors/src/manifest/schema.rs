//! The words of a FlareCluster manifest, as they stand in the file (design.md 7).
//!
//! Only the shape: which fields there are and of what type. Numbers are read wider than they may
//! be, and with the line they stand on, so that `check` can say what is wrong with them.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_saphyr::Spanned;

/// A number and its line; wider than any field allows.
pub(super) type Number = Option<Spanned<i64>>;
/// A text and its line.
pub(super) type Text = Option<Spanned<String>>;
/// A part that belongs to Kubernetes; kept as it is, and not looked into here.
pub(super) type Foreign = Option<serde_json::Value>;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Document {
    pub(super) api_version: Spanned<String>,
    pub(super) kind: Spanned<String>,
    #[serde(default)]
    pub(super) metadata: Metadata,
    pub(super) spec: Spec,
    /// Written by the operator on Kubernetes; a manifest copied from there may carry it.
    #[serde(default, rename = "status")]
    _status: Foreign,
}

/// Kubernetes' own fields: more of them than we name, so that unknown ones are let be.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Metadata {
    pub(super) name: Text,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Spec {
    pub(super) partitions: Spanned<i64>,
    pub(super) replicas: Spanned<i64>,
    #[serde(default)]
    pub(super) hash: Hash,
    #[serde(default)]
    pub(super) monitor: Monitor,
    pub(super) startup_grace_seconds: Number,
    #[serde(default)]
    pub(super) circuit_breaker: CircuitBreaker,
    #[serde(default)]
    pub(super) cluster_replication: ClusterReplication,
    #[serde(default)]
    pub(super) nodes: Nodes,
    #[serde(default)]
    pub(super) paused: bool,
    pub(super) promote_lapsed: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Hash {
    pub(super) algorithm: Text,
    pub(super) partition_size: Number,
    pub(super) modular_hint: Number,
    pub(super) modular_virtual: Number,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Monitor {
    pub(super) interval_millis: Number,
    pub(super) read_timeout_millis: Number,
    pub(super) threshold: Number,
    pub(super) lapse_millis: Number,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct CircuitBreaker {
    pub(super) enabled: Option<bool>,
    pub(super) trip_threshold_percent: Number,
    pub(super) reset_threshold_percent: Number,
    pub(super) auto_reset_enabled: Option<bool>,
    pub(super) min_dead_nodes: Number,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct ClusterReplication {
    pub(super) enabled: Option<Spanned<bool>>,
    pub(super) server_name: Text,
    pub(super) port: Number,
    pub(super) mode: Text,
    pub(super) concurrency: Number,
}

/// The managed pods: of use on Kubernetes only, checked for its field names everywhere, so that
/// one manifest serves both and a typing error is found on a laptop.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Nodes {
    #[serde(rename = "managed")]
    _managed: Option<bool>,
    #[serde(rename = "image")]
    _image: Option<String>,
    pub(super) port: Number,
    #[serde(default)]
    pub(super) storage: Storage,
    #[serde(default)]
    pub(super) leaving: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) zones: BTreeMap<String, Vec<Spanned<String>>>,
    #[serde(rename = "resources")]
    _resources: Foreign,
    #[serde(rename = "affinity")]
    _affinity: Foreign,
    #[serde(rename = "tolerations")]
    _tolerations: Foreign,
    #[serde(rename = "topologySpreadConstraints")]
    _topology_spread_constraints: Foreign,
    #[serde(default, rename = "podAnnotations")]
    _pod_annotations: BTreeMap<String, String>,
    #[serde(rename = "extraConfig")]
    _extra_config: Foreign,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Storage {
    #[serde(rename = "type")]
    pub(super) kind: Text,
    #[serde(rename = "size")]
    _size: Option<String>,
    #[serde(rename = "storageClassName")]
    _storage_class_name: Option<String>,
}
