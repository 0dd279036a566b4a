//! How a handover begins: who would swap with whom, clients led away, the relay opened.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{NodeKey, Role, State, Timestamp};
use crate::policy::promotion;
use crate::stored::{HandoverStep, StoredHandover};
use crate::topology::handover::{Before, CLIENTS_MILLIS_MAX, RELAY_MILLIS_MAX, Running};
use crate::topology::{
    Effect, HandoverHow, HandoverWay, Origin, Refusal, RequestId, Step, Topology,
};

/// How the index swaps by itself: no write is refused, and the clients of a node that leaves would
/// lose their connections anyway.
const BY_ITSELF: HandoverHow = HandoverHow { way: HandoverWay::Park, end_clients: true };

impl Topology {
    /// Begins a swap that a person asked for.
    pub(in crate::topology) fn switchover(
        &mut self,
        request: RequestId,
        partition: i32,
        to: Option<NodeKey>,
        (how, origin): (HandoverHow, Origin),
        now: Timestamp,
        step: &mut Step,
    ) -> Result<(), Refusal> {
        if origin != Origin::Admin {
            return Err(Refusal::NotAllowed);
        }
        if self.proposed.breaker_open {
            return Err(Refusal::BreakerOpen);
        }
        let plan = self.plan_handover(partition, to)?;
        self.begin_handover(Some(request), plan, how, now, step)
    }

    /// Begins the swap of a master that leaves.
    pub(in crate::topology) fn hand_over_for_leaving(
        &mut self,
        partition: i32,
        now: Timestamp,
        step: &mut Step,
    ) -> Result<(), Refusal> {
        let plan = self.plan_handover(partition, None)?;
        self.begin_handover(None, plan, BY_ITSELF, now, step)
    }

    fn begin_handover(
        &mut self,
        asked: Option<RequestId>,
        plan: StoredHandover,
        how: HandoverHow,
        now: Timestamp,
        step: &mut Step,
    ) -> Result<(), Refusal> {
        let from = plan.from.clone();
        self.handover = Some(Running {
            asked,
            plan,
            before: Some(Before::Clients(how.way)),
            version: 0,
            unacknowledged: BTreeSet::new(),
            owing: BTreeMap::new(),
            relay_is_reached: false,
            resumed: false,
            taken_back: None,
            allowance: CLIENTS_MILLIS_MAX,
            deadline: Some(now.plus_millis(CLIENTS_MILLIS_MAX)),
        });
        if !how.end_clients {
            return self.open_relay(how.way, now, step);
        }
        step.effects.push(Effect::EndClients { node: from });
        Ok(())
    }

    /// The client connections of the old master were ended, as far as it is known which they are.
    pub(in crate::topology) fn clients_ended(
        &mut self,
        node: &NodeKey,
        now: Timestamp,
        step: &mut Step,
    ) -> Result<(), Refusal> {
        let Some(running) = &self.handover else { return Ok(()) };
        match running.before {
            Some(Before::Clients(way)) if running.plan.from == *node => {
                self.open_relay(way, now, step)
            }
            _ => Ok(()),
        }
    }

    /// The relay is opened where one is wanted; else the first step begins.
    pub(in crate::topology) fn open_relay(
        &mut self,
        way: HandoverWay,
        now: Timestamp,
        step: &mut Step,
    ) -> Result<(), Refusal> {
        let Some(running) = &mut self.handover else { return Ok(()) };
        if way == HandoverWay::Park {
            running.before = Some(Before::Relay);
            running.deadline = Some(now.plus_millis(RELAY_MILLIS_MAX));
            let reads_to = running.plan.from.clone();
            step.effects.push(Effect::OpenRelay { reads_to });
            return Ok(());
        }
        self.begin_or_end(now, step);
        Ok(())
    }

    /// The relay stands, or does not: then writes are refused instead of held.
    pub(in crate::topology) fn relay_opened(
        &mut self,
        relay: Option<NodeKey>,
        now: Timestamp,
        step: &mut Step,
    ) -> Result<(), Refusal> {
        let waits = |running: &&mut Running| running.before == Some(Before::Relay);
        let Some(running) = self.handover.as_mut().filter(waits) else {
            step.effects.push(Effect::CloseRelay);
            return Ok(());
        };
        running.plan.relay = relay.filter(|key| !self.proposed.nodes.contains_key(key));
        self.begin_or_end(now, step);
        Ok(())
    }

    /// The first step, if everything is still as it was when the swap was planned.
    fn begin_or_end(&mut self, now: Timestamp, step: &mut Step) {
        let Some(running) = &self.handover else { return };
        let (partition, to) = (running.plan.partition, running.plan.to.clone());
        let from = running.plan.from.clone();
        let held = self.parties(partition, Some(to)).and_then(|(master, _)| match master == from {
            true => self.introduce_relay(),
            false => Err(Refusal::Stale),
        });
        if let Err(refusal) = held {
            self.end_handover(Some(refusal), now, step);
        }
    }

    /// Who would swap with whom, when nothing else is under way.
    fn plan_handover(
        &self,
        partition: i32,
        to: Option<NodeKey>,
    ) -> Result<StoredHandover, Refusal> {
        let waits = self.writing.is_some() || self.staged_push.is_some();
        if self.handover.is_some() || self.proposed.handover.is_some() || waits {
            return Err(Refusal::Busy);
        }
        let (from, to) = self.parties(partition, to)?;
        let (relay, balances) = (None, BTreeMap::new());
        Ok(StoredHandover { partition, from, to, relay, balances, step: HandoverStep::Holding })
    }

    /// The partition's master and the slave that would take over; refuses what could lose
    /// something.
    fn parties(&self, partition: i32, to: Option<NodeKey>) -> Result<(NodeKey, NodeKey), Refusal> {
        let stored = &self.proposed;
        let copying = stored.nodes.values().any(|node| {
            node.entry.state.is_preparing() && node.entry.partition == partition
                || node.entry.role == Role::Master && node.entry.state.is_preparing()
        });
        if copying {
            return Err(Refusal::Busy);
        }
        let from = stored
            .nodes
            .iter()
            .find(|(_, n)| n.entry.is_master_of(partition) && n.entry.state == State::Active)
            .map(|(key, _)| key.clone())
            .ok_or(Refusal::NoSuccessor)?;
        let to = match to {
            Some(to) if promotion::is_eligible(stored, &self.facts, partition, &to) => Some(to),
            Some(_) => None,
            None => promotion::successor(stored, &self.facts, partition, &from),
        };
        let to = to.ok_or(Refusal::NoSuccessor)?;
        // A node that has not taken the present map in would go on sending to the old master.
        let late = stored.nodes.iter().any(|(key, node)| {
            let facts = self.facts.get(key);
            node.entry.state != State::Down
                && facts.is_none_or(|facts| !facts.linked || facts.acked < stored.version)
        });
        if late {
            return Err(Refusal::Busy);
        }
        Ok((from, to))
    }
}
