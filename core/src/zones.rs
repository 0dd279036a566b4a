//! Zones: which nodes fail together, as far as somebody said so.
//!
//! A zone is a rack, a room, an availability zone. On bare machines the manifest tells them, on
//! Kubernetes the machines that the pods run on. A node of which nothing was said lies in an
//! unknown zone, which is neither the same as another's nor a different one.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::model::NodeKey;

/// The name of a zone; cloning is cheap.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Zone(Arc<str>);

impl Zone {
    /// The zone of this name.
    pub fn new(name: &str) -> Self {
        Self(name.into())
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which zone each node lies in: said of single nodes, and of hosts with all their nodes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Zones {
    nodes: BTreeMap<NodeKey, Zone>,
    hosts: BTreeMap<String, Zone>,
}

/// A node or a host was said to lie in two zones.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} lies in {zone}, but {other} was said to lie in {in_zone}")]
pub struct InTwoZones {
    /// The node or host that this was said of.
    pub what: String,
    /// In which zone it was said to lie.
    pub zone: Zone,
    /// What contradicts it: itself, its host, or a node of it.
    pub other: String,
    /// In which zone that lies.
    pub in_zone: Zone,
}

impl Zones {
    /// The zone of a node, if it is known.
    pub fn of(&self, node: &NodeKey) -> Option<&Zone> {
        self.nodes.get(node).or_else(|| self.hosts.get(node.name()))
    }

    /// Has nobody said anything?
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty() && self.hosts.is_empty()
    }

    /// Says where one node lies.
    ///
    /// # Errors
    /// It, or its host, was said to lie in another zone.
    pub fn put_node(&mut self, node: NodeKey, zone: Zone) -> Result<(), InTwoZones> {
        let host = self.hosts.get(node.name()).map(|known| (node.name(), known));
        let itself = self.nodes.get(&node).map(|known| (node.as_str(), known));
        for (other, known) in itself.into_iter().chain(host) {
            contradicts(node.as_str(), &zone, other, known)?;
        }
        self.nodes.insert(node, zone);
        Ok(())
    }

    /// Says where all nodes of a host lie.
    ///
    /// # Errors
    /// The host, or a node of it, was said to lie in another zone.
    pub fn put_host(&mut self, host: &str, zone: Zone) -> Result<(), InTwoZones> {
        let nodes = self.nodes.iter().filter(|(node, _)| node.name() == host);
        let nodes = nodes.map(|(node, known)| (node.as_str(), known));
        let itself = self.hosts.get(host).map(|known| (host, known));
        for (other, known) in itself.into_iter().chain(nodes) {
            contradicts(host, &zone, other, known)?;
        }
        self.hosts.insert(host.to_owned(), zone);
        Ok(())
    }
}

fn contradicts(what: &str, zone: &Zone, other: &str, known: &Zone) -> Result<(), InTwoZones> {
    if zone == known {
        return Ok(());
    }
    let (what, other) = (what.to_owned(), other.to_owned());
    Err(InTwoZones { what, zone: zone.clone(), other, in_zone: known.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone(name: &str) -> Zone {
        Zone::new(name)
    }

    #[test]
    fn a_host_stands_for_all_its_nodes_and_a_node_for_itself() {
        let mut zones = Zones::default();
        assert!(zones.is_empty());
        zones.put_host("a", zone("one")).expect("nothing was said yet");
        zones.put_node(NodeKey::new("b", 1), zone("two")).expect("nothing was said yet");
        let of = |host, port| zones.of(&NodeKey::new(host, port)).map(Zone::name);
        assert_eq!([of("a", 1), of("a", 2)], [Some("one"), Some("one")]);
        assert_eq!([of("b", 1), of("b", 2)], [Some("two"), None]);
    }

    #[test]
    fn what_is_said_twice_must_agree() {
        let mut zones = Zones::default();
        zones.put_host("a", zone("one")).expect("nothing was said yet");
        zones.put_node(NodeKey::new("b", 1), zone("two")).expect("nothing was said yet");
        zones.put_node(NodeKey::new("a", 1), zone("one")).expect("it agrees");
        zones.put_host("b", zone("two")).expect("it agrees");
        let said = |wrong: Result<(), InTwoZones>| wrong.expect_err("two zones").to_string();
        let node = said(zones.clone().put_node(NodeKey::new("a", 2), zone("two")));
        assert_eq!(node, "a:2 lies in two, but a was said to lie in one");
        let host = said(zones.clone().put_host("b", zone("one")));
        assert_eq!(host, "b lies in one, but b was said to lie in two");
        let mut alone = Zones::default();
        alone.put_node(NodeKey::new("c", 7), zone("one")).expect("nothing was said yet");
        let host = said(alone.put_host("c", zone("two")));
        assert_eq!(host, "c lies in two, but c:7 was said to lie in one");
    }
}
