//! Nodes and the index's connections to them: what starts, ends, is sent and is answered.

use flare_core::model::{Role, State};
use flare_core::stored::{StoredNode, StoredTopology};
use flare_core::topology::{DownReason, Input, Origin, Seen, StoreFailure};
use flare_core::wanted::Wanted;

use crate::sim::World;

impl World {
    /// A started node asks to be added; it waits for the answer.
    pub(crate) fn register(&mut self, at: usize) {
        let waits = self.asked.values().any(|asker| *asker == Some(at));
        if self.nodes[at].alive && !self.nodes[at].serving && !waits {
            let node = self.nodes[at].key.clone();
            self.ask(Some(at), |request| Input::Register { request, node, origin: Origin::Node });
        }
    }

    /// SIGTERM: the node says that it leaves, then ends.
    pub(crate) fn leave(&mut self, at: usize) {
        if self.nodes[at].serving {
            let node = self.nodes[at].key.clone();
            self.ask(None, |request| Input::Shutdown { request, node, origin: Origin::Node });
            self.crash(at, false);
        }
    }

    /// The process ends; the connection's end is seen at once.
    pub(crate) fn crash(&mut self, at: usize, with_disk: bool) {
        self.tell(|| format!("crash {at} with_disk={with_disk}"));
        for asker in self.asked.values_mut().filter(|asker| **asker == Some(at)) {
            *asker = None;
        }
        self.nodes[at].stop();
        if with_disk {
            // A disk that is lost in the moment in which the other copy is being emptied is lost.
            (0..self.nodes.len()).for_each(|other| self.empty(other, false));
            for (key, entry) in self.nodes[at].data.empty() {
                if self.was_the_last(key, entry.value) {
                    self.promised.remove(&key);
                }
            }
        }
        self.end_link(at);
    }

    pub(crate) fn end_link(&mut self, at: usize) {
        if std::mem::take(&mut self.links[at].linked) {
            self.links[at].empties.clear();
            self.links[at].probed = false;
            self.input(Input::LinkEnded { node: self.nodes[at].key.clone() });
        }
    }

    /// The link tries: it stands when the node answers.
    pub(crate) fn try_link(&mut self, at: usize) {
        if self.links[at].linked || self.entry(at).is_none() {
            return;
        }
        let node = self.nodes[at].key.clone();
        if self.nodes[at].serving {
            self.links[at].linked = true;
            self.links[at].probed = true;
            self.input(Input::LinkOpened { node });
        } else {
            self.input(Input::LinkEnded { node });
        }
    }

    pub(crate) fn observe(&mut self, at: usize) {
        if self.links[at].linked {
            self.links[at].probed = false;
            let (node, observation) = (self.nodes[at].key.clone(), self.nodes[at].observation());
            self.input(Input::Observed { node, observation });
            for towards in std::mem::take(&mut self.links[at].watched) {
                let node = self.nodes[at].key.clone();
                self.input(Input::QueueDrained { node, towards });
            }
        }
    }

    /// Sends the newest released map, if the node has an older one.
    pub(crate) fn push(&mut self, at: usize, answer_lost: bool) {
        let Some(map) = self.links[at].released.clone().filter(|_| self.links[at].linked) else {
            return;
        };
        let version = map.version();
        if self.nodes[at].version() < version && self.nodes[at].sync(map) {
            self.tell(|| format!("push {version} to {at} answer_lost={answer_lost}"));
            self.is_the_only_master(at);
            if !answer_lost {
                let node = self.nodes[at].key.clone();
                self.input(Input::Acknowledged { node, version });
            }
        }
    }

    /// R9: a living master knows that it is a slave before the next one knows that it leads.
    fn is_the_only_master(&self, at: usize) {
        let leads = |at: usize| {
            let own = self.nodes[at].entry().filter(|_| self.nodes[at].serving);
            let leads = own.filter(|own| own.role == Role::Master && own.state == State::Active);
            leads.map(|own| own.partition)
        };
        let Some(partition) = leads(at) else { return };
        for other in (0..self.nodes.len()).filter(|other| *other != at) {
            let entry = self.entry(other);
            let becomes_slave = entry.is_some_and(|entry| entry.is_slave_of(partition));
            assert!(
                !becomes_slave || leads(other) != Some(partition),
                "nodes {at} and {other} are both master of partition {partition} (R9)"
            );
        }
    }

    /// The failure detector: orders what the published map does not show yet.
    pub(crate) fn detect(&mut self, at: usize, mistaken: bool) {
        let Some(entry) = self.entry(at) else { return };
        let answers = self.links[at].linked && self.nodes[at].serving;
        let incarnation = Some(self.nodes[at].incarnation()).filter(|_| answers);
        let seen = Seen { version: self.topology.snapshot().version(), incarnation };
        let node = self.nodes[at].key.clone();
        let is_down =
            entry.state == State::Down && !self.topology.snapshot().stored().is_paused(&node);
        if is_down && answers {
            self.input(Input::Return { node, seen });
        } else if !is_down && (!self.nodes[at].alive || mistaken) {
            self.input(Input::MarkDown { node, seen, reason: DownReason::Refused });
        }
    }

    /// The store answers.
    pub(crate) fn store(&mut self, fails: bool) {
        let Some(state) = self.writing.take() else { return };
        let generation = state.generation;
        if fails {
            let failure = StoreFailure::Unwritable("no space left on device".into());
            self.input(Input::StoreFailed { generation, failure });
        } else {
            self.is_stored(&state);
            self.input(Input::Stored { generation });
        }
    }

    /// The medium has it. A partition that goes on with a copy of which something is known goes on
    /// with what that has, whether or not anybody is told of it.
    pub(crate) fn is_stored(&mut self, state: &StoredTopology) {
        let before = std::mem::replace(&mut self.medium, state.clone());
        self.ledger.stores(&self.medium);
        let lapsed = before.nodes.iter().filter(|(_, node)| node.lapse.is_some());
        let promoted = lapsed.filter_map(|(key, node)| {
            let is_master = |node: &StoredNode| {
                node.entry.role == Role::Master && node.entry.state == State::Active
            };
            let now = state.nodes.get(key).filter(|now| is_master(now) && !is_master(node));
            now.map(|now| (now.entry.partition, key))
        });
        let known = |of: &i32| before.recoveries.get(of);
        let chosen = state.recoveries.iter().filter(|(of, key)| known(of) != Some(key));
        for (partition, key) in promoted.chain(chosen.map(|(of, key)| (*of, key))) {
            self.goes_on_with(self.at(key), partition);
        }
    }

    /// Is it an active master, and stays one by the map that waits for it?
    fn stays_master(&self, at: usize) -> bool {
        let node = &self.nodes[at];
        let waiting = self.links[at].released.as_ref().and_then(|map| map.node(&node.key));
        [node.entry(), waiting.map(|node| node.entry)]
            .iter()
            .all(|entry| entry.is_some_and(|e| e.role == Role::Master && e.state == State::Active))
    }

    pub(crate) fn want(&mut self, wanted: Wanted) {
        self.wanted = wanted;
        self.input(Input::WantedChanged { wanted });
    }

    /// Time passes. A living node takes a map that makes it a master well within the time that the
    /// index gives a node to be the first to know, and a `flush_all` is not held up. One that is a
    /// master already may be held up, and not know for long who copies from it.
    pub(crate) fn pass(&mut self, millis: u64) {
        for at in 0..self.nodes.len() {
            self.try_link(at);
            if !self.stays_master(at) {
                self.push(at, false);
            }
            self.empty(at, false);
        }
        self.now = self.now.plus_millis(millis);
        if self.wake.is_some_and(|wake| wake <= self.now) {
            self.wake = None;
            self.input(Input::WakeDue);
        }
    }
}
