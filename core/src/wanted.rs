//! The wanted shape of a cluster, in the core's own words: what a FlareCluster asks for.
//!
//! `manifest` reads it from YAML or from Kubernetes; `policy` compares it with what there is.

/// Partitions and copies that are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Wanted {
    /// `spec.partitions`, at least 1.
    pub partitions: u32,
    /// `spec.replicas`: copies per partition, the master included; at least 1.
    pub replicas: u32,
    /// `spec.paused`: nothing is assigned; failover goes on.
    pub paused: bool,
    /// `spec.promoteLapsed`: may a slave that lapsed take over when no other copy is left (R5)?
    pub promote_lapsed: bool,
}
