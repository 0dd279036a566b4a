//! What nodes do with their data: copies and reports, `flush_all`, writes of clients.

use flare_core::model::{NodeEntry, Role, State};
use flare_core::stored::{Holding, StoredTopology};
use flare_core::topology::{Input, Origin};

use crate::node::{Key, Report, partition_of};
use crate::sim::World;

impl World {
    /// The node says, once, what became of its copy.
    pub(crate) fn report(&mut self, at: usize, lost: bool) {
        let Some(report) = self.nodes[at].report.take().filter(|_| !lost) else { return };
        let (node, origin) = (self.nodes[at].key.clone(), Origin::Node);
        let state = match report {
            Report::Active => State::Active,
            Report::Ready => State::Ready,
            Report::Failed => {
                let (role, balance, partition) = (Role::Proxy, 0, -1);
                return self.ask(None, |request| Input::SetRole {
                    request,
                    node,
                    role,
                    balance,
                    partition,
                    origin,
                });
            }
        };
        self.ask(None, |request| Input::SetState { request, node, state, origin });
    }

    /// A source serves the next keys of its dump; it serves one dump at a time.
    pub(crate) fn copy(&mut self, at: usize) {
        let Some(copy) = self.nodes[at].copy.clone() else { return };
        let Some((source, behind)) = copy.sources.first().cloned() else {
            return self.nodes[at].copied(true);
        };
        // A relay has nothing to copy.
        let Some(from) = self.nodes.iter().position(|node| node.key == source) else {
            return self.nodes[at].copied(false);
        };
        let others = self.nodes.iter().enumerate().filter(|(other, _)| *other != at);
        let begun = |copy: &crate::node::Copy| {
            copy.sources.first().is_some_and(|(other, behind)| *other == source && behind.is_some())
        };
        let busy = others.into_iter().any(|(_, node)| node.copy.as_ref().is_some_and(begun));
        if !self.nodes[from].serving || busy {
            return self.nodes[at].copied(false);
        }
        let wanted = |key: &&Key| {
            behind.is_none_or(|behind| **key > behind)
                && partition_of(**key, copy.of) == copy.partition
        };
        match self.nodes[from].keys.iter().find(wanted).copied() {
            Some(key) => {
                self.nodes[at].keys.insert(key);
                if let Some(copy) = &mut self.nodes[at].copy {
                    copy.sources[0].1 = Some(key);
                }
            }
            None => {
                if let Some(copy) = &mut self.nodes[at].copy {
                    copy.sources.remove(0);
                }
            }
        }
    }

    /// `flush_all` reaches the node, if it is still the process that is meant.
    pub(crate) fn empty(&mut self, at: usize, answer_lost: bool) {
        let Some((intent, meant)) = self.links[at].empties.pop_front() else { return };
        let same = self.links[at].linked
            && self.nodes[at].serving
            && self.nodes[at].incarnation().is_same(&meant);
        if same {
            self.flush(at);
        }
        let (node, ok) = (self.nodes[at].key.clone(), same && !answer_lost);
        self.input(Input::Emptied { node, intent, ok });
    }

    /// Is the key on the disk of a node that belongs to its partition, or did? What a node still
    /// has of partitions that split off is out of reach for good (flare-protocol.md 5.3). A map
    /// that is on its way to the store counts as well.
    pub(crate) fn is_kept(&self, key: Key) -> bool {
        let committed = self.topology.snapshot().stored();
        let on_its_way = self.writing.as_deref();
        std::iter::once(committed).chain(on_its_way).all(|map| self.is_kept_by(map, key))
    }

    fn is_kept_by(&self, map: &StoredTopology, key: Key) -> bool {
        let serving = map.nodes.values().map(|node| &node.entry);
        let serving = serving.filter(|e| e.role == Role::Master && !e.state.is_preparing());
        let count = serving.map(|entry| entry.partition + 1).max().unwrap_or(0);
        let partition = partition_of(key, count);
        self.nodes.iter().filter(|node| node.keys.contains(&key)).any(|node| {
            map.nodes.get(&node.key).is_some_and(|stored| {
                let held = Holding::Partition(partition);
                stored.entry.partition == partition || stored.holds == held
            })
        })
    }

    /// R6 and R7 at the moment when it counts.
    pub(crate) fn flush(&mut self, at: usize) {
        self.tell(|| format!("flush {at}"));
        let told = self.nodes[at].entry().map(|entry| entry.role);
        assert_eq!(told, Some(Role::Proxy), "node {at} is emptied while it has a role");
        let committed = self.entry(at).map(|entry| entry.role);
        assert_eq!(committed, Some(Role::Proxy), "node {at} is emptied while it has a role");
        for key in std::mem::take(&mut self.nodes[at].keys) {
            let promised = self.promised.contains(&key);
            assert!(
                !promised || self.is_kept(key),
                "the last copy of key {key} was on node {at} (R6)"
            );
        }
    }

    /// A client writes a new key at a node that is the master of its partition, in the committed
    /// map and in its own; it goes to whom the master's own map names (flare-protocol.md 5.3).
    pub(crate) fn write(&mut self, at: usize) {
        let is_master =
            |entry: NodeEntry| entry.role == Role::Master && entry.state == State::Active;
        let Some(own) = self.nodes[at].entry().filter(|own| is_master(*own)) else { return };
        let agreed = self.entry(at).is_some_and(|e| is_master(e) && e.partition == own.partition);
        if !agreed || !self.nodes[at].serving {
            return;
        }
        let (active, preparing) = self.nodes[at].partitions();
        let key = (self.next_key..).find(|key| partition_of(*key, active) == own.partition);
        let key = key.expect("each partition has keys");
        self.next_key = key + 1;
        let mut takers = self.nodes[at].of_map(|entry| entry.is_slave_of(own.partition));
        takers.retain(|taker| self.nodes.iter().any(|node| node.key == *taker));
        if preparing > 0 && partition_of(key, active + 1) == active {
            takers.extend(self.nodes[at].of_map(|entry| entry.partition == active));
        }
        self.tell(|| format!("write {key} at {at}, also at {takers:?}"));
        self.nodes[at].keys.insert(key);
        let mut reached_all = true;
        for taker in takers {
            let to = self.at(&taker);
            reached_all &= self.nodes[to].serving;
            if self.nodes[to].serving {
                self.nodes[to].keys.insert(key);
            }
        }
        // A master passes the keys of a partition that splits off on to the new master without
        // waiting for it: when that one has just died, and its activation is on its way all the
        // same, the key stays behind for good. Nothing that the index does can mend that.
        let splits_off = preparing > 0 && partition_of(key, active + 1) == active;
        // So it is with a master whose successor is on its way to the store, and has just died.
        let own_key = &self.nodes[at].key;
        let superseded = self
            .writing
            .as_ref()
            .is_some_and(|map| map.nodes.get(own_key).is_some_and(|node| !is_master(node.entry)));
        if reached_all || !(splits_off || superseded) {
            self.promised.insert(key);
        }
    }
}
