//! What moves a handover on: acknowledgements, drained queues, deaths, deadlines, a restart.

use std::collections::BTreeSet;

use crate::model::{NodeEntry, NodeKey, Role, State, Timestamp};
use crate::stored::HandoverStep;
use crate::topology::handover::ending::Party;
use crate::topology::handover::{Audience, Before, RESUMED_MILLIS_MAX, Running};
use crate::topology::{Effect, Event, Facts, Refusal, Step, Topology};

impl Running {
    /// Has the queues of a node watched, which has taken the map in.
    fn watch_owed(&self, node: &NodeKey, now: Timestamp, step: &mut Step) {
        let until = self.deadline.unwrap_or(now.plus_millis(self.allowance));
        for towards in self.owing.get(node).into_iter().flatten() {
            step.effects.push(Effect::watch_queue(node.clone(), *towards, until));
        }
    }
}

impl Topology {
    /// An acknowledgement: the node is watched until it owes nobody anything any more.
    pub(in crate::topology) fn handover_acknowledged(
        &mut self,
        node: &NodeKey,
        acked: u64,
        now: Timestamp,
        step: &mut Step,
    ) {
        let Some(running) = &mut self.handover else { return };
        if running.version == 0 || acked < running.version || !running.unacknowledged.remove(node) {
            return;
        }
        let plan = &running.plan;
        if plan.step == HandoverStep::Releasing && *node == plan.to && plan.relay.is_some() {
            step.effects.push(Effect::ReleaseRelay { to: node.clone() });
        }
        if plan.step == HandoverStep::Introducing {
            return self.introduce(node, now, step);
        }
        running.watch_owed(node, now, step);
    }

    /// A node has nothing left towards one of those that it may have owed something.
    pub(in crate::topology) fn queue_drained(&mut self, node: &NodeKey, towards: u32) {
        let watches = |running: &&mut Running| running.plan.step != HandoverStep::Introducing;
        let Some(running) = self.handover.as_mut().filter(watches) else { return };
        let Some(owed) = running.owing.get_mut(node) else { return };
        owed.retain(|other| *other != towards);
        if owed.is_empty() {
            running.owing.remove(node);
        }
    }

    /// The relay ended by itself: while it stood in for the master, the old one takes over again.
    pub(in crate::topology) fn relay_ended(&mut self) -> Result<(), Refusal> {
        match &self.handover {
            Some(running) if running.version > 0 && running.plan.step < HandoverStep::Switching => {
                self.take_back(Party::Lives, "the relay ended")
            }
            _ => Ok(()),
        }
    }

    /// A party of the handover is dead. `None`: none is under way, or it is not one of them.
    pub(in crate::topology) fn party_died(
        &mut self,
        key: &NodeKey,
        now: Timestamp,
        step: &mut Step,
    ) -> Option<Result<(), Refusal>> {
        let plan = self.proposed.handover.clone()?;
        match plan.step {
            HandoverStep::Releasing if plan.to == *key && self.may_go_back() => {
                Some(match self.is_taken_back() {
                    true => self.give_to_successor_after_all(),
                    false => self.take_back(Party::Dead, "the new master died"),
                })
            }
            HandoverStep::Releasing if plan.to == *key => {
                // The swap itself is over: what follows is an ordinary death.
                if let Err(refusal) = self.complete(now, step) {
                    return Some(Err(refusal));
                }
                None
            }
            // At the end of the swap only the new master has what it has acknowledged.
            step if plan.from == *key
                && (step == HandoverStep::Releasing || self.is_whole(&plan.to)) =>
            {
                Some(self.let_successor_serve(Party::Dead))
            }
            // What the old master acknowledged last the other may lack: as without a swap, it keeps
            // its partition until one of them is back.
            _ if plan.from == *key => {
                let back = self.take_back(Party::Lives, "the new master does not answer");
                back.and_then(|()| self.complete(now, step)).err().map(Err)
            }
            _ if plan.to == *key => Some(self.take_back(Party::Dead, "the new master died")),
            _ => None,
        }
    }

    /// Does it answer, and is nothing known against its copy (R5)?
    fn is_whole(&self, key: &NodeKey) -> bool {
        let lapse = self.proposed.nodes.get(key).and_then(|node| node.lapse);
        let answers = |facts: &Facts| facts.answers() && !facts.suspected;
        lapse.is_none() && self.facts.get(key).is_some_and(answers)
    }

    /// Does a handover under way name this node? Then nobody else changes its role.
    pub(in crate::topology) fn is_handed_over(&self, key: &NodeKey) -> bool {
        let plan = self.proposed.handover.as_ref();
        plan.is_some_and(|plan| {
            [Some(&plan.from), Some(&plan.to), plan.relay.as_ref()].contains(&Some(key))
        })
    }

    /// Is the node shown as down only so that it refuses writes for a moment? It is not dead.
    pub(in crate::topology) fn is_paused(&self, key: &NodeKey) -> bool {
        self.proposed.is_paused(key)
    }

    /// Looks after every input whether the present step is over, done or not.
    pub(in crate::topology) fn advance_handover(&mut self, now: Timestamp, step: &mut Step) {
        let pausing = self.is_pausing(now);
        let outcome = match &mut self.handover {
            None if self.proposed.handover.is_some() && !pausing => self.resume_handover(),
            None => return,
            Some(Running { before: Some(before), deadline, .. }) => match *before {
                _ if deadline.is_some_and(|deadline| now < deadline) => return,
                Before::Clients(way) => self.open_relay(way, now, step),
                Before::Relay => {
                    let refusal = Refusal::TakenBack("the relay could not be opened in time");
                    return self.end_handover(Some(refusal), now, step);
                }
            },
            Some(running) => {
                if running.deadline.is_none() && self.snapshot.version() >= running.version {
                    running.deadline = Some(now.plus_millis(running.allowance));
                }
                let nodes = &self.proposed.nodes;
                let counts = |key: &NodeKey| {
                    nodes.get(key).is_some_and(|node| {
                        node.entry.state != State::Down || node.entry.role == Role::Master
                    })
                };
                running.unacknowledged.retain(counts);
                running.owing.retain(|key, _| counts(key));
                self.end_step(now, step)
            }
        };
        if let Err(refusal) = outcome {
            let order = "the next step of a handover".to_owned();
            step.effects.push(Effect::Happened(Event::OrderRefused { order, refusal }));
        }
    }

    fn end_step(&mut self, now: Timestamp, step: &mut Step) -> Result<(), Refusal> {
        let Some(running) = &self.handover else { return Ok(()) };
        let late = running.is_late(now);
        let stored = self.snapshot.version() >= running.version;
        let done = stored && running.unacknowledged.is_empty() && running.owing.is_empty();
        let linked = |key: &NodeKey| self.facts.get(key).is_some_and(|facts| facts.linked);
        let to_lives = linked(&running.plan.to);
        let from_knows = !running.unacknowledged.contains(&running.plan.from);
        match running.plan.step {
            HandoverStep::Introducing if done || late => self.leave_introducing(step),
            HandoverStep::Holding if done && to_lives => self.switch_master(),
            // Also when the old master is silent: it was never told, and whether it is dead is not
            // for a handover to say.
            HandoverStep::Holding if late => {
                self.take_back(Party::Lives, "not all nodes took the map in time")
            }
            HandoverStep::Switching if done && to_lives => self.let_successor_serve(Party::Lives),
            HandoverStep::Switching if late && !to_lives => {
                self.take_back(Party::Dead, "the new master does not answer")
            }
            HandoverStep::Switching if late && from_knows => {
                self.take_back(Party::Lives, "the old master did not get rid of its writes")
            }
            // It may go on as the master for those who reach it: only a new copy makes it a slave.
            HandoverStep::Switching if late => self.let_successor_serve(Party::Dead),
            HandoverStep::Releasing if late && self.may_go_back() && !self.is_taken_back() => {
                self.take_back(Party::Dead, "the new master does not answer")
            }
            HandoverStep::Releasing if done || late => self.complete(now, step),
            _ => Ok(()),
        }
    }

    /// Nobody was told of the one that is to serve, since it has not taken that in itself, and the
    /// other is there to go on, with its copy. After a restart nobody knows whom it had told.
    fn may_go_back(&self) -> bool {
        self.handover.as_ref().is_some_and(|Running { plan, unacknowledged, resumed, .. }| {
            let copy = self.proposed.nodes.get(&plan.from).is_some_and(|node| {
                let NodeEntry { role, state, partition, .. } = node.entry;
                role == Role::Slave && state == State::Active && partition == plan.partition
            });
            !resumed
                && unacknowledged.contains(&plan.to)
                && self.facts.get(&plan.from).is_some_and(|facts| facts.linked && copy)
                && !self.proposed.breaker_open
        })
    }

    fn is_taken_back(&self) -> bool {
        self.handover.as_ref().is_some_and(|running| running.taken_back.is_some())
    }

    /// After a restart: held writes are given back to the old master, who was not told; a switch
    /// that it may know of is completed.
    fn resume_handover(&mut self) -> Result<(), Refusal> {
        let Some(plan) = self.proposed.handover.clone() else { return Ok(()) };
        match plan.step {
            HandoverStep::Introducing | HandoverStep::Holding => {
                self.take_back(Party::Lives, "the index was started again")
            }
            HandoverStep::Switching => {
                let audience = BTreeSet::from([plan.from.clone()]);
                self.await_step(plan, audience, RESUMED_MILLIS_MAX);
                Ok(())
            }
            // Told anew, so that the one who serves is told first again.
            HandoverStep::Releasing => {
                let why = "the index was started again".to_owned();
                self.release_writes(plan, Party::Lives, why)?;
                if let Some(running) = &mut self.handover {
                    running.resumed = true;
                }
                Ok(())
            }
        }
    }

    /// Who is told of maps meanwhile; `None` is everybody.
    pub(in crate::topology) fn handover_audience(&self) -> Option<Audience> {
        let plan = self.snapshot.stored().handover.as_ref()?;
        match plan.step {
            HandoverStep::Introducing | HandoverStep::Holding => {
                Some(Audience::AllBut(plan.from.clone()))
            }
            HandoverStep::Switching => Some(Audience::Only(plan.from.clone())),
            HandoverStep::Releasing => None,
        }
    }

    pub(in crate::topology) fn audience_but(&self, from: &NodeKey) -> BTreeSet<NodeKey> {
        let mut audience = self.living();
        audience.remove(from);
        audience
    }

    /// The nodes that are told of maps and answer: not the dead, not a relay.
    pub(in crate::topology) fn living(&self) -> BTreeSet<NodeKey> {
        let relay = self.proposed.handover.as_ref().and_then(|plan| plan.relay.as_ref());
        let nodes = self.proposed.nodes.iter();
        nodes
            .filter(|(key, node)| {
                Some(*key) != relay
                    && self.facts.get(*key).is_some_and(|facts| facts.linked)
                    && (node.entry.state != State::Down || node.entry.role == Role::Master)
            })
            .map(|(key, _)| key.clone())
            .collect()
    }
}
