//! What a cluster is asked to be: how many nodes in how many zones, and which address each has.
//! Clusters share nothing, not even a network, so all of them use the same addresses.

use std::fs;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use super::paths::Paths;

/// Most nodes of one cluster. Each takes about 150 MB before it runs anything.
pub(crate) const NODES_MAX: u8 = 9;

/// The control plane's address: apiserver and DNS.
pub(crate) const CONTROL: &str = "10.99.0.1";

/// Where Services get their addresses.
pub(crate) const SERVICES: &str = "10.96.0.0/16";

/// What was asked of `up`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Plan {
    pub(crate) nodes: u8,
    pub(crate) zones: u8,
    /// How long names are cached, in seconds. Clusters usually have 30.
    pub(crate) dns_cache_s: u32,
}

/// One Kubernetes node.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    /// `node1` and so on.
    pub(crate) name: String,
    /// `zone-a` and so on.
    pub(crate) zone: String,
    /// On the bridge that all nodes share.
    pub(crate) address: String,
    /// Where the node's pods get their addresses.
    pub(crate) pods: String,
}

impl Plan {
    /// Refuses what cannot be.
    pub(crate) fn check(&self) -> Result<()> {
        ensure!(
            (1..=NODES_MAX).contains(&self.nodes),
            "a cluster has 1 to {NODES_MAX} nodes, not {}",
            self.nodes
        );
        ensure!(
            (1..=self.nodes).contains(&self.zones),
            "{} nodes can be in 1 to {} zones, not {}",
            self.nodes,
            self.nodes,
            self.zones
        );
        ensure!(self.dns_cache_s <= 3600, "DNS may cache for up to 3600 s");
        Ok(())
    }

    /// The nodes, dealt out to the zones in turn.
    pub(crate) fn nodes(&self) -> Vec<Node> {
        (1..=self.nodes)
            .map(|number| Node {
                name: format!("node{number}"),
                zone: format!("zone-{}", char::from(b'a' + (number - 1) % self.zones)),
                address: format!("10.99.0.{}", 10 + number),
                pods: format!("10.244.{number}.0/24"),
            })
            .collect()
    }

    /// Keeps the plan beside the cluster.
    pub(crate) fn store(&self, paths: &Paths) -> Result<()> {
        let text = serde_json::to_string_pretty(self).context("write the plan")?;
        fs::write(paths.plan(), text).with_context(|| format!("write {}", paths.plan().display()))
    }

    /// The plan of a cluster that was started.
    pub(crate) fn load(paths: &Paths) -> Result<Self> {
        let text = fs::read_to_string(paths.plan())
            .with_context(|| format!("there is no cluster {:?}", paths.name()))?;
        serde_json::from_str(&text).with_context(|| format!("read {}", paths.plan().display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_are_dealt_out_to_zones_in_turn() {
        let plan = Plan { nodes: 4, zones: 3, dns_cache_s: 5 };
        plan.check().expect("fits");
        let zones: Vec<_> = plan.nodes().into_iter().map(|node| node.zone).collect();
        assert_eq!(zones, ["zone-a", "zone-b", "zone-c", "zone-a"]);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for (nodes, zones) in [(0, 1), (10, 1), (2, 3), (3, 0)] {
            let plan = Plan { nodes, zones, dns_cache_s: 5 };
            assert!(plan.check().is_err(), "{nodes} nodes, {zones} zones");
        }
    }
}
