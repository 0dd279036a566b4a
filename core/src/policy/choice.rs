//! Which free node gets a role: copies of a partition on different hosts, masters spread.

use std::collections::BTreeSet;

use crate::model::{NodeKey, Role};
use crate::policy::action::Action;
use crate::policy::assignment::Planner;
use crate::policy::emptying::{self, NotEmptied};
use crate::stored::Holding;
use crate::topology::Blocked;

/// Where copies lie already: a host is a machine on bare metal, and a pod on Kubernetes.
#[derive(Debug, Default)]
pub(super) struct Room<'a> {
    /// The hosts that hold the partition.
    pub(super) own: BTreeSet<&'a str>,
    /// The same of each partition that gets a copy after this one.
    pub(super) later: &'a [BTreeSet<&'a str>],
}

impl Room<'_> {
    /// How many of the later ones could use a node of this host. Who takes it from the fewest
    /// leaves no partition with a host of its own alone, where that can be.
    fn missed_by(&self, host: &str) -> usize {
        self.later.iter().filter(|hosts| !hosts.contains(host)).count()
    }
}

impl Planner<'_> {
    /// The next step towards giving a free node a role: empty it, wait, or assign it. A node that
    /// is on its way to one role is not considered for another.
    pub(super) fn give(&mut self, role: Role, partition: i32, room: &Room<'_>) -> Option<Action> {
        let node = self.candidate(role, room)?;
        self.claimed.insert(node.clone());
        let facts = self.view.facts(&node)?;
        match self.view.stored.nodes.get(&node)?.empty_intent {
            None => Some(Action::IntendToEmpty { node }),
            Some(_) if facts.emptying.is_some() => None,
            Some(intent) if facts.emptied == Some(intent) => {
                Some(Action::Assign { node, role, partition })
            }
            Some(intent) => Some(Action::EmptyAgain { node, intent }),
        }
    }

    fn candidate(&mut self, role: Role, room: &Room<'_>) -> Option<NodeKey> {
        let mut best = None;
        for node in self.shape.free.iter().filter(|node| !self.claimed.contains(*node)) {
            let Some(facts) = self.view.facts(node) else { continue };
            let waits = facts.retry_at.is_some_and(|at| self.view.now < at);
            if !facts.linked || !facts.knows_its_role() || waits {
                continue;
            }
            match emptying::may_empty(self.view, self.shape, node) {
                Ok(()) => {}
                Err(NotEmptied::Unknown) => {
                    self.plan.probes.insert(node.clone());
                    continue;
                }
                Err(NotEmptied::MayHoldData) => {
                    self.plan.blocked.insert(Blocked::MayHoldData { node: node.clone() });
                    continue;
                }
            }
            let stored = self.view.stored.nodes.get(node);
            // One that is to be emptied already has been waited for.
            let fresh = stored.is_none_or(|stored| stored.empty_intent.is_none());
            let had_role = stored.is_some_and(|stored| stored.holds != Holding::Unknown);
            if had_role && fresh && !facts.drained {
                self.plan.drains.insert(node.clone());
                continue;
            }
            let masters = match role {
                Role::Master => self.shape.masters_by_host.get(node.name()).copied().unwrap_or(0),
                Role::Slave | Role::Proxy => 0,
            };
            // What an old copy holds is kept for as long as an empty node can take its place.
            let holds = self.view.items(node) != Some(0);
            let missed = room.missed_by(node.name());
            let rank = (room.own.contains(node.name()), masters, missed, fresh, holds);
            if best.as_ref().is_none_or(|(least, _)| rank < *least) {
                best = Some((rank, node));
            }
        }
        best.map(|(_, node): (_, &NodeKey)| node.clone())
    }
}
