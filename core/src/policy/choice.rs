//! Which free node gets a role: copies of a partition in different zones, then on different hosts;
//! masters spread likewise.

use std::cmp::Reverse;

use crate::model::{NodeKey, Role};
use crate::policy::action::Action;
use crate::policy::apart::{self, Apart, Crowd, ZONE_WAIT_MILLIS};
use crate::policy::assignment::Planner;
use crate::policy::emptying::{self, NotEmptied};
use crate::topology::Blocked;
use crate::topology::Facts;

/// Where copies lie already.
#[derive(Debug, Default)]
pub(super) struct Room<'a> {
    /// The nodes that hold the partition.
    pub(super) own: Vec<&'a NodeKey>,
    /// The other partitions that are to get copies, in the places that hold them.
    pub(super) others: Option<&'a Crowd<'a>>,
    /// Does the cluster hold nothing yet, so that a better place may be waited for?
    pub(super) early: bool,
}

/// What a candidate's place is measured by.
struct Measure<'a> {
    role: Role,
    masters: Crowd<'a>,
    free: Crowd<'a>,
}

impl<'a> Planner<'a> {
    /// The free node that gets a role. One that is on its way to a role is not considered for
    /// another.
    pub(super) fn choose(&mut self, role: Role, room: &Room<'_>) -> Option<&'a NodeKey> {
        let node = self.candidate(role, room)?;
        if room.early && self.waits_for_another_zone(node, room) {
            return None;
        }
        self.claimed.insert(node.clone());
        Some(node)
    }

    /// The next step towards giving it the role: empty it, wait, or assign it.
    pub(super) fn give(&self, node: &NodeKey, role: Role, partition: i32) -> Option<Action> {
        let (facts, node) = (self.view.facts(node)?, node.clone());
        match self.view.stored.nodes.get(&node)?.empty_intent {
            None => Some(Action::IntendToEmpty { node }),
            Some(_) if facts.emptying.is_some() => None,
            Some(intent) if facts.emptied == Some(intent) => {
                let assign = Action::Assign { node, role, partition };
                self.knows_the_masters(facts).then_some(assign)
            }
            Some(intent) => Some(Action::EmptyAgain { node, intent }),
        }
    }

    /// Has the node taken in who the masters are? They are told of its role first, and what they
    /// send it before it knows of that itself it sends on to the masters that it knows: to a dead
    /// one it would try so for 18 s, and keep its new master waiting (flare-protocol.md 5.4).
    fn knows_the_masters(&self, node: &Facts) -> bool {
        let masters = self.shape.counted().filter_map(|(_, known)| known.active_master());
        let mut known = masters.filter_map(|master| self.view.facts(master));
        known.all(|master| node.acked >= master.role_version)
    }

    /// Would the copy lie beside another one in a zone that is known, and may a node of another
    /// zone be about to register?
    fn waits_for_another_zone(&mut self, node: &NodeKey, room: &Room<'_>) -> bool {
        let Some(known) = self.view.facts(node) else { return false };
        let facts = self.view.facts;
        let beside = room.own.iter().any(|own| apart::apart(facts, own, node) == Apart::Same);
        let due = known.linked_since.plus_millis(ZONE_WAIT_MILLIS);
        let waits = beside && known.zone.is_some() && self.view.now < due;
        if waits {
            self.plan.look_at = self.plan.look_at.map_or(Some(due), |at| Some(at.min(due)));
        }
        waits
    }

    fn candidate(&mut self, role: Role, room: &Room<'_>) -> Option<&'a NodeKey> {
        let shape = self.shape;
        let measure = self.measure(role);
        let mut best = None;
        for node in shape.free.iter().filter(|node| !self.claimed.contains(*node)) {
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
            if fresh && self.view.may_be_owed(node) {
                self.plan.drains.insert(node.clone());
                continue;
            }
            // What an old copy holds is kept for as long as an empty node can take its place.
            let holds = self.view.items(node) != Some(0);
            let failed = role == Role::Master && facts.failed_as_master;
            let rank = (failed, self.place(node, room, &measure), fresh, holds);
            if best.as_ref().is_none_or(|(least, _)| rank < *least) {
                best = Some((rank, node));
            }
        }
        best.map(|(_, node): (_, &NodeKey)| node)
    }

    fn measure(&self, role: Role) -> Measure<'a> {
        let (mut masters, mut free) = (Crowd::default(), Crowd::default());
        let facts = self.view.facts;
        for partition in self.shape.partitions.values() {
            masters.add(facts, partition.master.iter().map(|(key, _)| key));
        }
        // A partition's first copy leaves the choice to all others.
        if role != Role::Master {
            let unclaimed = self.shape.free.iter().filter(|node| !self.claimed.contains(*node));
            unclaimed.for_each(|node| free.add(facts, std::iter::once(node)));
        }
        Measure { role, masters, free }
    }

    /// How good a place for a copy the node is; the least is the best.
    ///
    /// Of places that are equally far from the partition's other copies, those go first that the
    /// other partitions need least: a zone with many free nodes, and with many partitions that lie
    /// there already and want another one. Where each partition lacks one copy, that leaves none
    /// to its own zone that need not be: it can be done for as long as no zone has more free nodes
    /// and such partitions together than there are free nodes in all, and taking from the zone
    /// that has most of both keeps it so.
    fn place(&self, node: &'a NodeKey, room: &Room<'_>, measure: &Measure<'a>) -> impl Ord + use<> {
        let facts = self.view.facts;
        let in_zone = |far: Apart| {
            room.own.iter().filter(|own| apart::apart(facts, own, node) == far).count()
        };
        let on_host = room.own.iter().filter(|own| own.name() == node.name()).count();
        let [masters_in_zone, masters_on_host] = measure.masters.around(facts, node);
        let free = measure.free.around(facts, node);
        let others = room.others.map_or([0, 0], |others| others.around(facts, node));
        let crowd = [free[0] + others[0], free[1] + others[1]].map(Reverse);
        let distance = (in_zone(Apart::Same), in_zone(Apart::Unknown), on_host);
        let (masters, slaves) = match measure.role {
            Role::Master => ((masters_on_host, masters_in_zone), 0),
            // A zone without a master is left for the next one.
            Role::Slave | Role::Proxy => ((0, 0), masters_in_zone),
        };
        (distance, masters, crowd, Reverse(slaves))
    }
}
