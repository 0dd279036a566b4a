//! How a handover ends: the new master serves, or the old one again, and the relay leaves the map.
//!
//! Both are the same step with the parties exchanged. Whoever serves has taken its map in before
//! it gets what the relay holds: a flared that is no master yet would carry such a write out and
//! pass it on to nobody (flare-protocol.md 5.3).

use crate::model::{NodeKey, Role, State, Timestamp};
use crate::stored::{HandoverStep, StoredHandover, StoredTopology};
use crate::topology::handover::RELEASING_MILLIS_MAX;
use crate::topology::handover::introducing::restore_balances;
use crate::topology::transitions::{Change, set};
use crate::topology::{Answer, Effect, Event, Refusal, Step, Topology};

/// What becomes of a party of the swap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Party {
    Lives,
    Dead,
}

impl Topology {
    /// Step 3: `plan.to` serves, and everybody is told; `from` says whether `plan.from` goes on
    /// as its slave.
    pub(super) fn release_writes(
        &mut self,
        mut plan: StoredHandover,
        from: Party,
        why: String,
    ) -> Result<(), Refusal> {
        plan.step = HandoverStep::Releasing;
        let mut draft = self.proposed.clone();
        restore_balances(&mut draft, &mut plan);
        from.settle(&mut draft, &plan.from);
        set(&mut draft, &plan.to, |entry| {
            entry.role = Role::Master;
            entry.state = State::Active;
        });
        if let Some(relay) = &plan.relay {
            retire_relay(&mut draft, relay);
        }
        draft.handover = Some(plan.clone());
        let first = vec![plan.to.clone()];
        self.accept(draft, Change { first, ..Change::because(why) })?;
        let mut audience = self.living();
        // also if its connection is broken at this moment
        audience.insert(plan.to.clone());
        self.await_step(plan, audience, RELEASING_MILLIS_MAX);
        Ok(())
    }

    /// The new master takes over.
    pub(super) fn let_successor_serve(&mut self, from: Party) -> Result<(), Refusal> {
        let Some(plan) = self.proposed.handover.clone() else { return Ok(()) };
        let why = format!("{} takes partition {} over", plan.to, plan.partition);
        self.release_writes(plan, from, why)
    }

    /// The old master keeps its partition; `to` says whether the other goes on as its slave.
    pub(super) fn take_back(&mut self, to: Party, why: &'static str) -> Result<(), Refusal> {
        let Some(plan) = self.proposed.handover.clone() else { return Ok(()) };
        let back = StoredHandover { from: plan.to, to: plan.from, ..plan };
        self.release_writes(back, to, why.to_owned())?;
        if let Some(running) = &mut self.handover {
            running.taken_back = Some(why);
        }
        Ok(())
    }

    /// The old master died before it took its partition back.
    pub(super) fn give_to_successor_after_all(&mut self) -> Result<(), Refusal> {
        let Some(plan) = self.proposed.handover.clone() else { return Ok(()) };
        let plan = StoredHandover { from: plan.to, to: plan.from, ..plan };
        let why = format!("{} takes partition {} over", plan.to, plan.partition);
        self.release_writes(plan, Party::Dead, why)?;
        if let Some(running) = &mut self.handover {
            running.taken_back = None;
        }
        Ok(())
    }

    /// The last step: the relay leaves the map.
    pub(super) fn complete(&mut self, now: Timestamp, step: &mut Step) -> Result<(), Refusal> {
        let Some(plan) = self.proposed.handover.clone() else { return Ok(()) };
        let mut draft = self.proposed.clone();
        draft.handover = None;
        if let Some(relay) = &plan.relay {
            draft.nodes.remove(relay);
            self.accept(draft, Change::because("the relay is not needed any more"))?;
        } else {
            self.record(|stored| stored.handover = None);
        }
        let taken_back = self.handover.as_ref().and_then(|running| running.taken_back);
        let outcome = match taken_back {
            Some(why) => format!("taken back, {} stays the master: {why}", plan.to),
            None => format!("{} is the master", plan.to),
        };
        self.tell_handover(&plan, outcome);
        self.end_handover(taken_back.map(Refusal::TakenBack), now, step);
        Ok(())
    }

    /// Answers who asked. What the relay still holds was not given to anybody: it ends with it,
    /// unacknowledged. One that nobody asked for, and that failed, is tried again after a pause.
    pub(super) fn end_handover(
        &mut self,
        refusal: Option<Refusal>,
        now: Timestamp,
        step: &mut Step,
    ) {
        let Some(running) = self.handover.take() else { return };
        if running.asked.is_none()
            && let Some(refusal) = &refusal
        {
            let order = format!("hand partition {} over", running.plan.partition);
            let refused = Event::OrderRefused { order, refusal: refusal.clone() };
            step.effects.push(Effect::Happened(refused));
            let master = match running.taken_back {
                Some(_) => running.plan.to.clone(),
                None => running.plan.from.clone(),
            };
            self.facts.entry(master).or_default().failed(now);
        }
        match (running.asked, refusal) {
            (Some(request), Some(refusal)) => {
                let answer = Answer::Refused(refusal);
                step.effects.push(Effect::Reply { request, answer });
            }
            (Some(request), None) => self.gathered.asked.push((request, false)),
            (None, _) => {}
        }
        if running.plan.relay.is_some() {
            step.effects.push(Effect::CloseRelay);
        }
    }

    /// The store failed under it: what is committed says how to go on.
    pub(in crate::topology) fn abandon_handover(
        &mut self,
        refusal: &Refusal,
        now: Timestamp,
        step: &mut Step,
    ) {
        if self.handover.is_some() {
            self.end_handover(Some(refusal.clone()), now, step);
        }
    }
}

impl Party {
    /// Gives it the role it ends with; a dead one ends as any dead node does.
    fn settle(self, draft: &mut StoredTopology, key: &NodeKey) {
        set(draft, key, |entry| match self {
            _ if entry.role == Role::Proxy => {}
            Self::Dead => entry.become_proxy(State::Down),
            Self::Lives => {
                entry.role = Role::Slave;
                entry.state = State::Active;
            }
        });
    }
}

/// The relay owns nothing any more, and yet stays reachable until nothing is queued towards it: a
/// flared that chose its target under the old map and queues under the new one refuses the write
/// if the target is down or gone by then. So the relay is an active slave, which takes writes, of
/// a partition that does not exist, so that no master copies to it (flare-protocol.md 1.6).
fn retire_relay(draft: &mut StoredTopology, relay: &NodeKey) {
    let masters = draft.nodes.values().filter(|node| node.entry.role == Role::Master);
    let highest = masters.map(|node| node.entry.partition).max().unwrap_or(0);
    set(draft, relay, |entry| {
        entry.role = Role::Slave;
        entry.state = State::Active;
        entry.balance = 0;
        // the next one could come into being meanwhile
        entry.partition = highest.saturating_add(2);
    });
}
