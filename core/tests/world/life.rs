//! What nodes do with their data: copies and reports, `flush_all`.

use flare_core::model::{Role, State};
use flare_core::topology::{Input, Origin};

use crate::data::{Data, Entry, Key, partition_of};
use crate::node::Report;
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
                self.ask(None, |request| Input::SetRole {
                    request,
                    node,
                    role,
                    balance,
                    partition,
                    origin,
                });
                return;
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
        let wanted = |key| partition_of(key, copy.of) == copy.partition;
        match self.nodes[from].data.next(behind, wanted) {
            Some((key, entry)) => {
                self.nodes[at].data.import(key, entry);
                let own = self.nodes[from].entry().map_or(copy.partition, |own| own.partition);
                if own != copy.partition && own != partition_of(key, copy.of - 1) {
                    self.is_stale(key, entry);
                }
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

    /// A new partition's master got an entry from a node that gave the key up when an earlier
    /// partition split off: a dump names all keys that belong where they are to go. That may bring
    /// back what was deleted since, or was deleted and written anew. Nothing that the index does
    /// can mend that.
    fn is_stale(&mut self, key: Key, stale: Entry) {
        let newer =
            |data: &Data, value| data.value(key) == Some(value) && data.outdates(key, stale);
        let is_outdated = |value| self.nodes.iter().any(|node| newer(&node.data, value));
        if !self.promised.get(&key).copied().flatten().is_some_and(is_outdated) {
            self.promised.remove(&key);
            self.stale.insert(key);
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

    /// R6 and R7 at the moment when it counts.
    pub(crate) fn flush(&mut self, at: usize) {
        self.tell(|| format!("flush {at}"));
        let told = self.nodes[at].entry().map(|entry| entry.role);
        assert_eq!(told, Some(Role::Proxy), "node {at} is emptied while it has a role");
        let committed = self.entry(at).map(|entry| entry.role);
        assert_eq!(committed, Some(Role::Proxy), "node {at} is emptied while it has a role");
        for (key, entry) in self.nodes[at].data.empty() {
            let last = self.was_the_last(key, entry.value);
            assert!(!last, "the last copy of key {key} was on node {at} (R6)");
        }
    }
}
