//! What people do: nodes that announce that they leave, masters that a person swaps, zones told.

use flare_core::model::NodeKey;
use flare_core::topology::{HandoverHow, Input, Origin, Seen};
use flare_core::zones::{Zone, Zones};

use crate::rng::Rng;
use crate::sim::{Due, World};

impl World {
    /// Relay and links say one thing that is due: that it went well, or did not.
    pub(crate) fn echo(&mut self, well: bool) {
        let Some(due) = self.echoes.pop_front() else { return };
        let input = match due {
            Due::Connected { node, towards } => {
                let has = towards.iter().copied().filter(|_| well).collect();
                let missing = if well { Vec::new() } else { towards.clone() };
                let life = self.life;
                self.input(Input::ConnectionsShown { node: node.clone(), towards: has });
                if self.life != life {
                    return;
                }
                Input::Connected { node, towards, missing }
            }
            Due::RelayOpened => {
                Input::RelayOpened { relay: well.then(|| NodeKey::new("relay", 1)) }
            }
            Due::ClientsEnded { node } => Input::ClientsEnded { node },
            Due::Introduced { node } => {
                let life = self.life;
                if well {
                    self.input(Input::RelayReached);
                }
                if self.life != life {
                    return;
                }
                Input::Introduced { node }
            }
        };
        self.input(input);
    }

    /// The node is going to be stopped, or stays after all.
    pub(crate) fn announce(&mut self, at: usize, leaves: bool) {
        let known = self.topology.snapshot().node(&self.nodes[at].key);
        if known.is_some_and(|known| known.leaving.is_some() != leaves) {
            let (node, origin) = (self.nodes[at].key.clone(), Origin::Node);
            self.ask(None, |request| Input::PrepareToLeave { request, node, leaves, origin });
        }
    }

    /// A person swaps the master of a partition.
    pub(crate) fn switch(&mut self, partition: i32, how: HandoverHow) {
        let (to, origin) = (None, Origin::Admin);
        self.ask(None, |request| Input::Switchover { request, partition, to, how, origin });
    }

    /// The failover actor tells of the breaker for as long as the map does not show it.
    pub(crate) fn tell_breaker(&mut self) {
        let open = self.breaker_opens;
        if self.topology.snapshot().stored().breaker_open != open {
            self.input(Input::BreakerChanged { open, assigned: 0, dead: 0 });
        }
    }

    /// Somebody tells which hosts lie in which zones, and forgets some: every other world has any.
    pub(crate) fn tell_zones(&mut self, rng: &mut Rng) {
        if !self.has_zones {
            return;
        }
        let mut zones = Zones::default();
        for at in 0..self.nodes.len() {
            if let Some(zone) = ["one", "two", "three"].get(rng.below(4)) {
                let host = self.nodes[at].key.name();
                // A host of two nodes is asked about twice: it stays where it was put.
                let _ = zones.put_host(host, Zone::new(zone));
            }
        }
        self.zones = zones.clone();
        self.input(Input::ZonesTold { zones });
    }

    /// The node was silent for too long, as the failover actor saw it.
    pub(crate) fn lapse(&mut self, at: usize) {
        let version = self.topology.snapshot().version();
        let seen = Seen { version, incarnation: None };
        let node = self.nodes[at].key.clone();
        self.input(Input::Lapsed { node, seen, silent_millis: 18_000 });
    }

    /// A person has a partition whose master came back empty, or is away, go on with what some node
    /// has. What that one lacks nobody was promised any more.
    pub(crate) fn recover(&mut self, at: usize) {
        let dead = self.topology.snapshot().entries().find(|(_, entry)| entry.is_preserved());
        let Some((master, entry)) = dead else { return };
        let partition = entry.partition;
        let (from, origin) = (self.nodes[at].key.clone(), Origin::Admin);
        let is_master = *master == from;
        let done = self.ask(None, |request| Input::Recover { request, partition, from, origin });
        if done && is_master {
            self.goes_on_with(at, partition);
        }
    }
}
