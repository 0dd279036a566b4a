//! The planned swap of a living master with an active slave: park and pause.
//!
//! A plain swap lets writes cross and loses some (flare-protocol.md 12). So the partition's writes
//! run dry first: all nodes but the old master are told that it is no master (`Holding`); when
//! nothing is queued towards it, it is told itself (`Switching`); when it owes the new master
//! nothing more, the new map goes out (`Releasing`). With a relay the nodes' writes wait in it,
//! without one they are refused for those milliseconds. Every step is a stored map with a
//! deadline, after which the swap is taken back or completed: never left between.

mod begin;
mod progress;

use std::collections::BTreeSet;

use crate::model::{NodeEntry, NodeKey, Role, State, Timestamp};
use crate::stored::{HandoverStep, StoredHandover, StoredNode, StoredTopology};
use crate::topology::transitions::{Change, set};
use crate::topology::{Answer, Effect, Event, HandoverWay, Refusal, RequestId, Step, Topology};

/// All nodes must have taken in that the old master is none, and sent it what they had, in this
/// time; else the swap is taken back. Seen: 25 ms (flare-protocol.md 12).
pub const HOLDING_MILLIS_MAX: u64 = 2_000;

/// The old master must have taken in its new role, and sent what it owes, in this time; else the
/// swap goes on without it, as after a death.
pub const SWITCHING_MILLIS_MAX: u64 = 1_000;

/// The nodes must have taken in the final map, and the relay handed over, in this time; else the
/// relay ends all the same.
pub const RELEASING_MILLIS_MAX: u64 = 2_000;

/// After a restart the connections have to be made first.
const RESUMED_MILLIS_MAX: u64 = 5_000;

/// How long the relay may take to be opened.
const RELAY_MILLIS_MAX: u64 = 500;

/// How long ending the client connections of the old master may take; then the swap goes on.
pub const CLIENTS_MILLIS_MAX: u64 = 1_000;

/// Who is told of maps while a handover is under way.
pub(super) enum Audience {
    AllBut(NodeKey),
    Only(NodeKey),
}

/// What comes before a handover's first map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Before {
    /// The client connections of the old master are being ended; then the relay, if one is wanted.
    Clients(HandoverWay),
    /// The relay is being opened.
    Relay,
}

/// What a handover waits for; learned again after a restart.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Running {
    asked: Option<RequestId>,
    plan: StoredHandover,
    /// What is done before the first step; `None` from then on.
    before: Option<Before>,
    /// The version that shows the present step; 0 before the first.
    version: u64,
    unacknowledged: BTreeSet<NodeKey>,
    undrained: BTreeSet<NodeKey>,
    /// How long the present step may take, in milliseconds, from the moment its map is stored.
    allowance: u64,
    /// When it has to be over; not known before its map is stored.
    pub(super) deadline: Option<Timestamp>,
}

impl Running {
    fn is_late(&self, now: Timestamp) -> bool {
        self.deadline.is_some_and(|deadline| now >= deadline)
    }
}

impl Topology {
    /// Step 1: all but the old master are told that it is none.
    fn hold_writes(&mut self) -> Result<(), Refusal> {
        let Some(running) = &self.handover else { return Ok(()) };
        let plan = running.plan.clone();
        let mut draft = self.proposed.clone();
        match &plan.relay {
            Some(relay) => {
                let mut entry = NodeEntry::new_proxy(draft.next_thread_type);
                draft.next_thread_type += 1;
                entry.role = Role::Master;
                entry.partition = plan.partition;
                draft.nodes.insert(relay.clone(), StoredNode::new(entry));
                set(&mut draft, &plan.from, |entry| entry.role = Role::Slave);
            }
            None => set(&mut draft, &plan.from, |entry| entry.state = State::Down),
        }
        draft.handover = Some(plan.clone());
        let why = format!("{} hands partition {} over", plan.from, plan.partition);
        self.accept(draft, Change::because(why))?;
        self.tell_handover(&plan, format!("{} is to take over from {}", plan.to, plan.from));
        let audience = self.audience_but(&plan.from);
        self.await_step(plan, audience, HOLDING_MILLIS_MAX);
        Ok(())
    }

    /// Step 2: the old master is told.
    fn switch_master(&mut self) -> Result<(), Refusal> {
        let Some(mut plan) = self.proposed.handover.clone() else { return Ok(()) };
        plan.step = HandoverStep::Switching;
        let mut draft = self.proposed.clone();
        if plan.relay.is_none() {
            set(&mut draft, &plan.from, |entry| {
                entry.role = Role::Slave;
                entry.state = State::Active;
            });
            set(&mut draft, &plan.to, |entry| {
                entry.role = Role::Master;
                entry.state = State::Down;
            });
        }
        draft.handover = Some(plan.clone());
        self.accept(draft, Change::because("the old master is told last"))?;
        let audience = BTreeSet::from([plan.from.clone()]);
        self.await_step(plan, audience, SWITCHING_MILLIS_MAX);
        Ok(())
    }

    /// Step 3: the new master serves, and everybody is told; `from` says whether the old master
    /// goes on as a slave.
    fn release_writes(&mut self, from: Party) -> Result<(), Refusal> {
        let Some(mut plan) = self.proposed.handover.clone() else { return Ok(()) };
        plan.step = HandoverStep::Releasing;
        let mut draft = self.proposed.clone();
        from.settle(&mut draft, &plan.from, Role::Slave);
        set(&mut draft, &plan.to, |entry| {
            entry.role = Role::Master;
            entry.state = State::Active;
        });
        if let Some(relay) = &plan.relay {
            set(&mut draft, relay, |entry| {
                entry.role = Role::Slave;
                entry.state = State::Down;
            });
        }
        draft.handover = Some(plan.clone());
        let first = vec![plan.to.clone()];
        let why = format!("{} takes partition {} over", plan.to, plan.partition);
        self.accept(draft, Change { first, ..Change::because(why) })?;
        let audience = self.living();
        self.await_step(plan, audience, RELEASING_MILLIS_MAX);
        Ok(())
    }

    /// The last step: the relay leaves the map.
    fn complete(&mut self, now: Timestamp, step: &mut Step) -> Result<(), Refusal> {
        let Some(plan) = self.proposed.handover.clone() else { return Ok(()) };
        let mut draft = self.proposed.clone();
        draft.handover = None;
        if let Some(relay) = &plan.relay {
            draft.nodes.remove(relay);
            self.accept(draft, Change::because("the relay is not needed any more"))?;
        } else {
            self.record(|stored| stored.handover = None);
        }
        self.tell_handover(&plan, format!("{} is the master", plan.to));
        self.end_handover(None, now, step);
        Ok(())
    }

    /// The old master keeps its partition; `to` says whether the other goes on as its slave.
    fn take_back(
        &mut self,
        to: Party,
        why: &'static str,
        now: Timestamp,
        step: &mut Step,
    ) -> Result<(), Refusal> {
        let Some(plan) = self.proposed.handover.clone() else {
            self.end_handover(Some(Refusal::TakenBack(why)), now, step);
            return Ok(());
        };
        let mut draft = self.proposed.clone();
        draft.handover = None;
        to.settle(&mut draft, &plan.to, Role::Slave);
        Party::Lives.settle(&mut draft, &plan.from, Role::Master);
        if let Some(relay) = &plan.relay {
            draft.nodes.remove(relay);
        }
        let first = vec![plan.from.clone()];
        self.accept(draft, Change { first, ..Change::because(why) })?;
        self.tell_handover(&plan, format!("taken back, {} stays the master: {why}", plan.from));
        self.end_handover(Some(Refusal::TakenBack(why)), now, step);
        Ok(())
    }

    /// It is over; one that nobody asked for, and that failed, is tried again after a pause.
    fn end_handover(&mut self, refusal: Option<Refusal>, now: Timestamp, step: &mut Step) {
        let Some(running) = self.handover.take() else { return };
        if running.asked.is_none()
            && let Some(refusal) = &refusal
        {
            let order = format!("hand partition {} over", running.plan.partition);
            let refused = Event::OrderRefused { order, refusal: refusal.clone() };
            step.effects.push(Effect::Happened(refused));
            self.facts.entry(running.plan.from.clone()).or_default().failed(now);
        }
        match (running.asked, refusal) {
            (Some(request), Some(refusal)) => {
                let answer = Answer::Refused(refusal);
                step.effects.push(Effect::Reply { request, answer });
            }
            (Some(request), None) => self.gathered.asked.push((request, false)),
            (None, _) => {}
        }
        if let Some(relay) = running.plan.relay {
            // What it still holds goes to whoever is the master now, and ends with it.
            let master = self.proposed.nodes.iter().find(|(key, node)| {
                **key != relay
                    && node.entry.is_master_of(running.plan.partition)
                    && node.entry.state == State::Active
            });
            if let Some((to, _)) = master {
                step.effects.push(Effect::ReleaseRelay { to: to.clone() });
            }
            step.effects.push(Effect::CloseRelay);
        }
    }

    /// The store failed under it: what is committed says how to go on.
    pub(super) fn abandon_handover(&mut self, refusal: &Refusal, now: Timestamp, step: &mut Step) {
        if self.handover.is_some() {
            self.end_handover(Some(refusal.clone()), now, step);
        }
    }

    fn tell_handover(&mut self, plan: &StoredHandover, what: String) {
        let partition = plan.partition;
        self.gathered.events.push(Event::Handover { partition, what });
    }

    fn await_step(&mut self, plan: StoredHandover, nodes: BTreeSet<NodeKey>, allowance: u64) {
        let asked = self.handover.take().and_then(|running| running.asked);
        self.handover = Some(Running {
            asked,
            before: None,
            version: self.proposed.version,
            undrained: nodes.clone(),
            unacknowledged: nodes,
            plan,
            allowance,
            deadline: None,
        });
    }
}

/// What becomes of a party of the swap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Party {
    Lives,
    Dead,
}

impl Party {
    /// Gives it the role it ends with; a dead one ends as any dead node does.
    fn settle(self, draft: &mut StoredTopology, key: &NodeKey, role: Role) {
        set(draft, key, |entry| match self {
            _ if entry.role == Role::Proxy => {}
            Self::Dead => entry.become_proxy(State::Down),
            Self::Lives => {
                entry.role = role;
                entry.state = State::Active;
            }
        });
    }
}

/// The thread type of the node that must not be owed anything when the present step ends.
fn former_target(stored: &StoredTopology, plan: &StoredHandover) -> Option<u32> {
    let target = match plan.step {
        HandoverStep::Holding => &plan.from,
        HandoverStep::Switching => &plan.to,
        HandoverStep::Releasing => plan.relay.as_ref()?,
    };
    stored.nodes.get(target).map(|node| node.entry.thread_type)
}
