//! How far apart nodes lie: whether one event may take two of them at once.
//!
//! What is known of zones is in the nodes' facts ([`Facts::zone`]). Without it two nodes of one
//! host are in the same zone all the same: a host is a machine on bare metal, and a pod on
//! Kubernetes.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{NodeKey, State};
use crate::policy::shape::{Partition, Shape};
use crate::stored::StoredTopology;
use crate::topology::{Blocked, Facts};
use crate::zones::Zone;

/// A copy that would lie beside another one of its partition, in the same zone, is not made before
/// its node was connected for so long, in milliseconds, while the cluster holds nothing: nodes of
/// another zone may be about to register. With keys in it a second copy anywhere is worth more.
pub const ZONE_WAIT_MILLIS: u64 = 10_000;

/// Does another node lie in another zone? The least is the farthest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Apart {
    /// In another one.
    Another,
    /// It is not known.
    Unknown,
    /// In the same one, or on the same host.
    Same,
}

/// The zone of a node, if it is known.
pub(super) fn zone<'a>(facts: &'a BTreeMap<NodeKey, Facts>, node: &NodeKey) -> Option<&'a Zone> {
    facts.get(node)?.zone.as_ref()
}

/// How far two nodes lie apart.
pub(super) fn apart(facts: &BTreeMap<NodeKey, Facts>, one: &NodeKey, other: &NodeKey) -> Apart {
    match (zone(facts, one), zone(facts, other)) {
        (Some(one), Some(other)) if one == other => Apart::Same,
        (Some(_), Some(_)) => Apart::Another,
        _ if one.name() == other.name() => Apart::Same,
        _ => Apart::Unknown,
    }
}

/// The zones in which something is wrong at present: a node is down, or is doubted. One that was to
/// be stopped says nothing of its zone.
pub(super) fn ill_zones<'a>(
    stored: &StoredTopology,
    facts: &'a BTreeMap<NodeKey, Facts>,
) -> BTreeSet<&'a Zone> {
    let ill = facts.iter().filter(|(key, facts)| {
        let node = stored.nodes.get(*key).filter(|node| node.leaving.is_none());
        node.is_some_and(|node| node.entry.state == State::Down || facts.suspected)
    });
    ill.filter_map(|(_, facts)| facts.zone.as_ref()).collect()
}

/// The partitions of which all copies, two at least, lie in one zone: its loss takes them all.
/// Copies on nodes that leave do not count.
pub(super) fn in_one_zone(shape: &Shape, facts: &BTreeMap<NodeKey, Facts>) -> Vec<Blocked> {
    let of = |(partition, known): (i32, &Partition)| {
        let staying = || known.members().filter(|node| !known.leaving.contains(*node));
        let shared = zone(facts, staying().next()?)?;
        let all = staying().all(|node| zone(facts, node) == Some(shared));
        let zone = shared.clone();
        (all && staying().count() > 1).then_some(Blocked::OneZone { partition, zone })
    };
    shape.counted().filter_map(of).collect()
}

/// What can be taken at once: a host, or a zone with all its hosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Place<'a> {
    Zone(&'a Zone),
    Host(&'a str),
}

/// How many of something lie in each zone and on each host.
#[derive(Debug, Clone, Default)]
pub(super) struct Crowd<'a>(BTreeMap<Place<'a>, usize>);

impl<'a> Crowd<'a> {
    /// The places of a node: the widest that is known, and its host.
    fn places(facts: &'a BTreeMap<NodeKey, Facts>, node: &'a NodeKey) -> [Place<'a>; 2] {
        let host = Place::Host(node.name());
        [zone(facts, node).map_or(host, Place::Zone), host]
    }

    /// The places in which any of these nodes lies.
    fn places_of(
        facts: &'a BTreeMap<NodeKey, Facts>,
        nodes: impl Iterator<Item = &'a NodeKey>,
    ) -> BTreeSet<Place<'a>> {
        nodes.flat_map(|node| Self::places(facts, node)).collect()
    }

    /// Counts these nodes together as one in each place where any of them lies.
    pub(super) fn add(
        &mut self,
        facts: &'a BTreeMap<NodeKey, Facts>,
        nodes: impl Iterator<Item = &'a NodeKey>,
    ) {
        for place in Self::places_of(facts, nodes) {
            *self.0.entry(place).or_default() += 1;
        }
    }

    /// Takes back what [`Crowd::add`] did.
    pub(super) fn take(
        &mut self,
        facts: &'a BTreeMap<NodeKey, Facts>,
        nodes: impl Iterator<Item = &'a NodeKey>,
    ) {
        for place in Self::places_of(facts, nodes) {
            if let Some(count) = self.0.get_mut(&place) {
                *count = count.saturating_sub(1);
            }
        }
    }

    /// How many lie in the node's zone, and how many on its host.
    pub(super) fn around(
        &self,
        facts: &'a BTreeMap<NodeKey, Facts>,
        node: &'a NodeKey,
    ) -> [usize; 2] {
        Self::places(facts, node).map(|place| self.0.get(&place).copied().unwrap_or_default())
    }
}
