//! Planned moves: nodes that announce that they leave, masters that a person swaps.

use flare_core::topology::{HandoverHow, HandoverWay, Input, Origin};

use crate::sim::World;

impl World {
    /// Relay and links say what is due.
    pub(crate) fn echo(&mut self) {
        if let Some(input) = self.echoes.pop_front() {
            self.input(input);
        }
    }

    /// The node is going to be stopped, or stays after all.
    pub(crate) fn announce(&mut self, at: usize, leaves: bool) {
        let known = self.topology.snapshot().node(&self.nodes[at].key);
        if known.is_some_and(|known| known.leaving.is_some() != leaves) {
            let (node, origin) = (self.nodes[at].key.clone(), Origin::Node);
            self.ask(None, |request| Input::PrepareToLeave { request, node, leaves, origin });
        }
    }

    /// A person swaps the master of some partition.
    pub(crate) fn switch(&mut self) {
        let partitions = usize::try_from(self.wanted.partitions).expect("few partitions");
        let partition = i32::try_from(self.rng.below(partitions)).expect("few partitions");
        let way = [HandoverWay::Park, HandoverWay::Pause][self.rng.below(2)];
        let how = HandoverHow { way, end_clients: self.rng.one_in(2) };
        let (to, origin) = (None, Origin::Admin);
        self.ask(None, |request| Input::Switchover { request, partition, to, how, origin });
    }
}
