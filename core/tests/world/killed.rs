//! The index is killed and started again, at any moment.

use std::sync::Arc;

use flare_core::topology::{Input, Topology};

use crate::sim::{Link, World, settings};

/// What of that which was under way has reached its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Killed {
    /// The medium has what was being written.
    pub(crate) written: bool,
    /// The nodes that got the `flush_all` that was sent to them, a bit for each.
    pub(crate) flushed: u32,
    /// It was away for so long that nodes ended their copies, and told nobody.
    pub(crate) for_long: bool,
}

/// When the index is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Death {
    /// Behind so many things that it does.
    pub(crate) behind: usize,
    /// In this one of the ways that make a difference then.
    pub(crate) way: usize,
}

impl World {
    /// The ways to be killed at this moment that make a difference.
    pub(crate) fn killed(&self) -> impl Iterator<Item = Killed> + use<> {
        let under_way = |link: &Link| link.linked && !link.empties.is_empty();
        let sent = (0..).zip(&self.links).filter(|(_, link)| under_way(link));
        let flushes = sent.fold(0, |nodes, (at, _)| nodes | 1 << at);
        let flushed = [0].into_iter().chain((flushes != 0).then_some(flushes));
        let writes = self.writing.is_some();
        let tells = self.nodes.iter().any(|node| node.copy.is_some() || node.report.is_some());
        flushed.flat_map(move |flushed| {
            let written = [false].into_iter().chain(writes.then_some(true));
            written.flat_map(move |written| {
                let for_long = [false].into_iter().chain(tells.then_some(true));
                for_long.map(move |for_long| Killed { written, flushed, for_long })
            })
        })
    }

    /// The index has done one thing more: is it killed now?
    pub(crate) fn dies_here(&mut self) -> bool {
        let ways = self.killed().count();
        self.moments.push(ways);
        let death = self.death.take_if(|death| death.behind == self.moments.len());
        let Some(killed) = death.and_then(|death| self.killed().nth(death.way)) else {
            return false;
        };
        self.restart_index(killed);
        true
    }

    /// The index is killed and started again.
    pub(crate) fn restart_index(&mut self, killed: Killed) {
        self.tell(|| format!("the index starts again: {killed:?}"));
        self.life += 1;
        if let Some(state) = self.writing.take()
            && killed.written
        {
            self.is_stored(&state);
        }
        for at in 0..self.nodes.len() {
            let sent = self.links[at].empties.pop_front();
            let same = sent.is_some_and(|(_, meant)| self.nodes[at].incarnation().is_same(&meant));
            if same && self.links[at].linked && killed.flushed >> at & 1 == 1 {
                self.flush(at);
            }
            self.links[at] = Link::default();
            if self.nodes[at].alive && !self.nodes[at].serving {
                self.nodes[at].stop();
            }
        }
        if killed.for_long {
            self.nodes_go_on();
        }
        self.ledger.restarts();
        self.asked.clear();
        self.echoes.clear();
        self.wake = None;
        self.topology = Topology::new(self.medium.clone(), settings(self.wanted));
        // As from the manifest, which is read at each start.
        self.input(Input::ZonesTold { zones: self.zones.clone() });
        let snapshot = Arc::clone(self.topology.snapshot());
        for (at, node) in self.nodes.iter().enumerate() {
            if snapshot.node(&node.key).is_some() && self.topology.tells_at_once(&node.key) {
                self.links[at].released = Some(Arc::clone(&snapshot));
            }
        }
    }

    /// Without an index.
    fn nodes_go_on(&mut self) {
        for at in 0..self.nodes.len() {
            while self.nodes[at].copy.is_some() {
                self.copy(at);
            }
            self.nodes[at].report = None;
        }
    }
}
