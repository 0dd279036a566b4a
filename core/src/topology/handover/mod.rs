//! The planned swap of a living master with an active slave: park and pause.
//!
//! A plain swap lets writes cross and loses some (flare-protocol.md 12). So the partition's writes
//! run dry first: all nodes but the old master are told that it is no master (`Holding`); when
//! nothing is queued towards it, it is told itself (`Switching`); when it owes the new master
//! nothing more, the new map goes out (`Releasing`). With a relay the nodes' writes wait in it,
//! once they have connected to it (`Introducing`); without one they are refused for those
//! milliseconds. Every step is a stored map with a deadline, after which the swap goes on, is
//! taken back or completed: never left between.

mod begin;
mod ending;
mod introducing;
mod progress;

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{NodeKey, Role, State, Timestamp};
use crate::stored::{HandoverStep, StoredHandover};
use crate::topology::transitions::{Change, set};
use crate::topology::{Event, HandoverWay, Refusal, RequestId, Topology};

/// All nodes must have taken in that the old master is none, and sent it what they had, in this
/// time; else the swap is taken back. Seen: 25 ms (flare-protocol.md 12).
pub const HOLDING_MILLIS_MAX: u64 = 2_000;

/// The old master must have taken in its new role, and sent what it owes, in this time; else the
/// swap goes on without it, as after a death. Longer than it takes to find a hung node dead: who is
/// only slow for some seconds must not lose what it has acknowledged and not yet sent on.
pub const SWITCHING_MILLIS_MAX: u64 = 5_000;

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
    /// The thread types towards which each node may still have something queued; looked at once the
    /// node has taken the map in.
    owing: BTreeMap<NodeKey, Vec<u32>>,
    /// Has some node connections to the relay?
    relay_is_reached: bool,
    /// Was the index started again in its last step? Then the new master may serve already.
    resumed: bool,
    /// Why it is being taken back, if it is.
    taken_back: Option<&'static str>,
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
        let mut plan = running.plan.clone();
        plan.step = HandoverStep::Holding;
        let mut draft = self.proposed.clone();
        introducing::restore_balances(&mut draft, &mut plan);
        match &plan.relay {
            Some(relay) => {
                set(&mut draft, relay, |entry| {
                    entry.role = Role::Master;
                    entry.balance = 0;
                });
                set(&mut draft, &plan.from, |entry| entry.role = Role::Slave);
            }
            None => {
                // One that nobody reached.
                if let Some(StoredHandover { relay: Some(relay), .. }) = &self.proposed.handover {
                    draft.nodes.remove(relay);
                }
                set(&mut draft, &plan.from, |entry| entry.state = State::Down);
            }
        }
        draft.handover = Some(plan.clone());
        let why = format!("{} hands partition {} over", plan.from, plan.partition);
        self.accept(draft, Change::because(why))?;
        if plan.relay.is_none() {
            self.tell_handover(&plan, format!("{} is to take over from {}", plan.to, plan.from));
        }
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

    fn tell_handover(&mut self, plan: &StoredHandover, what: String) {
        let partition = plan.partition;
        self.gathered.events.push(Event::Handover { partition, what });
    }

    fn await_step(&mut self, plan: StoredHandover, nodes: BTreeSet<NodeKey>, allowance: u64) {
        let before = self.handover.take();
        let taken_back = before.as_ref().and_then(|running| running.taken_back);
        let relay_is_reached = before.as_ref().is_some_and(|running| running.relay_is_reached);
        let owed = self.owed_in(&plan);
        let owing = nodes.iter().map(|node| (node.clone(), owed.clone()));
        self.handover = Some(Running {
            asked: before.and_then(|running| running.asked),
            before: None,
            version: self.proposed.version,
            owing: owing.filter(|(_, owed)| !owed.is_empty()).collect(),
            unacknowledged: nodes,
            plan,
            relay_is_reached,
            resumed: false,
            taken_back,
            allowance,
            deadline: None,
        });
    }

    /// The thread types of the nodes that must not be owed anything when the present step ends.
    fn owed_in(&self, plan: &StoredHandover) -> Vec<u32> {
        let nodes = &self.proposed.nodes;
        let thread_type = |key: &NodeKey| nodes.get(key).map(|node| node.entry.thread_type);
        match plan.step {
            // Connections, here.
            HandoverStep::Introducing => {
                plan.relay.as_ref().and_then(thread_type).into_iter().collect()
            }
            HandoverStep::Holding => thread_type(&plan.from).into_iter().collect(),
            // All that hold a copy: what the old master sends late would undo what the new one
            // has sent meanwhile (flare-protocol.md 4.5: a set older than a deletion is taken).
            HandoverStep::Switching => nodes
                .iter()
                .filter(|(key, node)| {
                    let copy = node.entry.role == Role::Slave && node.entry.state != State::Down;
                    node.entry.partition == plan.partition
                        && (copy || **key == plan.to)
                        && **key != plan.from
                })
                .map(|(_, node)| node.entry.thread_type)
                .collect(),
            HandoverStep::Releasing => {
                plan.relay.as_ref().and_then(thread_type).into_iter().collect()
            }
        }
    }
}
