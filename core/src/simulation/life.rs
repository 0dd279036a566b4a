//! What goes on at nodes and on the links to them: pings, maps, copies, writes of clients; and how
//! nodes are lost and come back.

use crate::model::{Incarnation, NodeKey, Role, State};
use crate::policy::suspicion::{Evidence, MonitorSettings};
use crate::simulation::cluster::{Cluster, is_serving_master};
use crate::simulation::conditions::{Manner, Storage};
use crate::simulation::node::{Node, Presence};
use crate::topology::{Input, Origin};

/// How long a connection to a machine that does not answer is tried, as the links do.
const CONNECT_MILLIS: u64 = 1_000;
/// A node is asked for its `stats` this often, as the links do.
const OBSERVE_MILLIS: u64 = 5_000;

impl Cluster {
    /// Everything that is due at one node.
    pub(super) fn attend(&mut self, at: usize) {
        if self.starts_again.get(&at).is_some_and(|due| *due <= self.now) {
            self.register(at);
        }
        if self.nodes[at].copy.as_ref().is_some_and(|copy| copy.ends <= self.now) {
            self.end_copy(at);
        }
        match self.links[at].hangs_until {
            Some(until) if until <= self.now => self.give_up(at),
            Some(_) => {}
            None => {
                let due = self.failover.suspicion().next_attempt(&self.nodes[at].key);
                if due.is_some_and(|due| due <= self.now) {
                    self.attempt(at);
                }
            }
        }
        self.take_inputs();
    }

    /// The link opens its connection where there is none, and pings.
    fn attempt(&mut self, at: usize) {
        let node = self.nodes[at].key.clone();
        let linked = self.links[at].linked;
        match self.nodes[at].presence {
            Presence::Serving => {
                if !linked {
                    self.links[at].linked = true;
                    self.links[at].observe_at = self.now;
                    self.input(Input::LinkOpened { node });
                }
                if self.links[at].observe_at <= self.now {
                    self.observe(at);
                }
                self.push(at);
                let incarnation = Some(self.nodes[at].incarnation());
                self.evidence(at, Evidence::PingAnswered { incarnation });
            }
            Presence::Silent => {
                let patience = if linked {
                    MonitorSettings::DEFAULT.read_timeout_millis
                } else {
                    CONNECT_MILLIS
                };
                self.links[at].hangs_until = Some(self.now.plus_millis(patience));
            }
            Presence::Registering | Presence::Refusing => {
                self.evidence(at, Evidence::ConnectRefused);
                self.input(Input::LinkEnded { node });
            }
        }
    }

    /// No answer came in time.
    fn give_up(&mut self, at: usize) {
        let link = &mut self.links[at];
        link.hangs_until = None;
        let missed = std::mem::take(&mut link.linked);
        let node = self.nodes[at].key.clone();
        self.evidence(at, if missed { Evidence::PingMissed } else { Evidence::ConnectFailed });
        self.input(Input::LinkEnded { node });
    }

    fn evidence(&mut self, at: usize, evidence: Evidence) {
        let told = self.failover.take(&self.nodes[at].key, evidence, self.now);
        told.into_iter().for_each(|input| self.input(input));
    }

    pub(super) fn observe(&mut self, at: usize) {
        if self.links[at].linked && self.nodes[at].is_serving() {
            self.links[at].observe_at = self.now.plus_millis(OBSERVE_MILLIS);
            let (node, observation) = (self.nodes[at].key.clone(), self.nodes[at].observation());
            self.input(Input::Observed { node, observation });
        }
    }

    /// Sends the newest released map.
    pub(super) fn push(&mut self, at: usize) {
        let link = &self.links[at];
        let Some(map) = link.released.clone().filter(|_| link.linked) else { return };
        let copied_at = self.now.plus_millis(self.conditions.copy_millis);
        if self.nodes[at].is_serving() && self.nodes[at].sync(&map, copied_at) {
            let (node, version) = (self.nodes[at].key.clone(), map.version());
            self.input(Input::Acknowledged { node, version });
        }
    }

    /// The node has copied, or its source is gone: it says so.
    fn end_copy(&mut self, at: usize) {
        let Some(copy) = self.nodes[at].copy.take() else { return };
        let (node, origin) = (self.nodes[at].key.clone(), Origin::Node);
        let source = copy.source.as_ref().and_then(|key| self.at(key));
        let source = source.map(|at| &self.nodes[at]).filter(|source| source.is_serving());
        let copied = source.map(|source| source.data.get(&copy.partition).copied().unwrap_or(0));
        let request = self.request();
        match copied {
            Some(writes) => {
                self.nodes[at].data.insert(copy.partition, writes);
                self.input(Input::SetState { request, node, state: State::Active, origin });
            }
            None => {
                let (role, balance, partition) = (Role::Proxy, 0, -1);
                self.input(Input::SetRole { request, node, role, balance, partition, origin });
            }
        }
    }

    /// Clients write to every partition that is served; its master passes it on to its slaves.
    pub(super) fn write(&mut self) {
        for (partition, written) in &mut self.written {
            let stored = self.topology.snapshot().stored();
            let agrees = |node: &Node| {
                stored
                    .nodes
                    .get(&node.key)
                    .is_some_and(|known| is_serving_master(known.entry, *partition))
            };
            let serves = |node: &&Node| {
                node.is_serving()
                    && node.entry.is_some_and(|own| is_serving_master(own, *partition))
                    && agrees(node)
            };
            if self.nodes.iter().find(serves).is_none() {
                continue;
            }
            *written += 1;
            for node in self.nodes.iter_mut().filter(|node| node.is_serving()) {
                let takes = node
                    .entry
                    .is_some_and(|own| own.partition == *partition && own.state == State::Active);
                if takes {
                    *node.data.entry(*partition).or_default() += 1;
                }
            }
        }
    }

    /// All nodes start for the first time.
    pub(super) fn all_register(&mut self) {
        for at in 0..self.nodes.len() {
            self.nodes[at].presence = Presence::Registering;
            self.register(at);
        }
        self.take_inputs();
    }

    /// These nodes are lost, all at this moment.
    pub(super) fn lose(&mut self, lost: &[usize]) {
        for at in lost.iter().copied() {
            self.starts_again.remove(&at);
            self.asked.retain(|_, asker| *asker != at);
            self.nodes[at].presence = match self.conditions.manner {
                Manner::Machine | Manner::Network => Presence::Silent,
                Manner::Process => Presence::Refusing,
            };
            if self.conditions.manner != Manner::Network {
                self.nodes[at].copy = None;
            }
            if self.conditions.manner == Manner::Process && self.links[at].linked {
                self.links[at].linked = false;
                let node = self.nodes[at].key.clone();
                self.evidence(at, Evidence::ConnectionEnded);
                self.input(Input::LinkEnded { node });
            }
        }
        self.take_inputs();
    }

    /// Everything that was lost comes back.
    pub(super) fn bring_back(&mut self) {
        for at in 0..self.nodes.len() {
            if self.nodes[at].is_serving() || self.nodes[at].presence == Presence::Registering {
                continue;
            }
            self.links[at].hangs_until = None;
            if self.conditions.manner == Manner::Network {
                self.nodes[at].presence = Presence::Serving;
                continue;
            }
            if std::mem::take(&mut self.links[at].linked) {
                let node = self.nodes[at].key.clone();
                self.evidence(at, Evidence::ConnectionEnded);
                self.input(Input::LinkEnded { node });
            }
            self.nodes[at].restart();
            if self.conditions.storage == Storage::Memory {
                self.nodes[at].data.clear();
            }
            self.register(at);
            self.take_inputs();
        }
    }

    fn register(&mut self, at: usize) {
        self.starts_again.remove(&at);
        let (request, node) = (self.request(), self.nodes[at].key.clone());
        self.asked.insert(request, at);
        self.input(Input::Register { request, node, origin: Origin::Node });
    }

    pub(super) fn empty(&mut self, node: &NodeKey, intent: u64, meant: Incarnation) {
        let Some(at) = self.at(node) else { return };
        let same = self.links[at].linked
            && self.nodes[at].is_serving()
            && self.nodes[at].incarnation().is_same(&meant);
        if same {
            self.nodes[at].data.clear();
        }
        self.input(Input::Emptied { node: node.clone(), intent, ok: same });
    }
}
