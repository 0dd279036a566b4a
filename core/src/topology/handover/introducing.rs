//! Before a relay holds writes: the nodes make their connections to it.
//!
//! A flared makes its connections to a node with the first request for it, and refuses a write
//! that meets that moment (`SERVER_ERROR proxy failure`): one in twenty parks refused one. A read
//! makes the same connections. So the relay is first an active slave with a read balance so small
//! that clients' reads hardly ever choose it, and the index reads a reserved key through
//! each node, until that has chosen the relay for once (flare-protocol.md 5.2: by chance, for each
//! key). A slave reads from others only with balance 0 of its own. The relay passes reads on to the
//! old master, which is told nothing: it would copy its writes to the relay.

use std::collections::BTreeMap;

use crate::model::{NodeEntry, NodeKey, Role, Timestamp};
use crate::stored::{HandoverStep, StoredHandover, StoredNode, StoredTopology};
use crate::topology::connections::reserved_key_of;
use crate::topology::transitions::{Change, set};
use crate::topology::{ConnectingHow, ConnectingRequest, Effect, Refusal, Step, Topology};

/// In this time some node must reach the relay. Else none does: reads of clients that are meant for
/// it wait in vain meanwhile, so it must be short.
const UNREACHED_MILLIS_MAX: u64 = 500;

/// How long the other nodes may take to connect to the relay once one has. After it writes are held
/// all the same; those of a node that has no connections then can be refused. Seen: 40 to 500 ms.
const INTRODUCING_MILLIS_MAX: u64 = 1_000;

/// So many reads go to the old master for each that goes to the relay: few meet the moment in
/// which connections are made, which a client sees as a miss. A node keeps its name so many times
/// (flare-protocol.md 1.6).
const READS_PER_RELAY_READ: i32 = 250;

/// So many reads are one request. They pass through one connection of the node to the old master
/// after each other (flare-protocol.md 5.4), and clients' writes wait behind them: 200 made some
/// wait 40 to 90 ms.
const READS_AT_ONCE: u32 = 20;

impl Topology {
    /// The first step: with a relay the nodes get to know it, without one there is nothing to do.
    pub(super) fn introduce_relay(&mut self) -> Result<(), Refusal> {
        let Some(running) = &self.handover else { return Ok(()) };
        let mut plan = running.plan.clone();
        let Some(relay) = plan.relay.clone() else { return self.hold_writes() };
        let mut draft = self.proposed.clone();
        let mut entry = NodeEntry::new_proxy(draft.next_thread_type);
        draft.next_thread_type += 1;
        entry.role = Role::Slave;
        entry.partition = plan.partition;
        plan.step = HandoverStep::Introducing;
        plan.balances = read_from_master(&mut draft, &plan);
        entry.balance = 1;
        draft.nodes.insert(relay, StoredNode::new(entry));
        draft.handover = Some(plan.clone());
        self.accept(draft, Change::because("the nodes connect to the relay of a handover"))?;
        self.tell_handover(&plan, format!("{} is to take over from {}", plan.to, plan.from));
        let audience = self.audience_but(&plan.from);
        self.await_step(plan, audience, UNREACHED_MILLIS_MAX);
        Ok(())
    }

    /// Has the node read until it has connections to the relay, which it now knows.
    pub(super) fn introduce(&mut self, node: &NodeKey, now: Timestamp, step: &mut Step) {
        let Some(running) = &mut self.handover else { return };
        let Some(towards) = running.owing.get(node).and_then(|relay| relay.first()).copied() else {
            return;
        };
        let Some(key) = reserved_key_of(&self.proposed, running.plan.partition) else {
            running.owing.remove(node);
            return;
        };
        let until = running.deadline.unwrap_or(now.plus_millis(running.allowance));
        let more = if running.relay_is_reached { 0 } else { INTRODUCING_MILLIS_MAX };
        let until = until.plus_millis(more);
        let request = ConnectingRequest { key, how: ConnectingHow::Read(READS_AT_ONCE) };
        step.effects.push(Effect::Introduce { node: node.clone(), request, towards, until });
    }

    /// Some node has connected to the relay: the others may have some more time for it.
    pub(in crate::topology) fn relay_reached(&mut self) -> Result<(), Refusal> {
        if let Some(running) = &mut self.handover
            && !std::mem::replace(&mut running.relay_is_reached, true)
            && running.plan.step == HandoverStep::Introducing
        {
            running.allowance += INTRODUCING_MILLIS_MAX;
            running.deadline =
                running.deadline.map(|deadline| deadline.plus_millis(INTRODUCING_MILLIS_MAX));
        }
        Ok(())
    }

    /// The end of an [`Effect::Introduce`].
    pub(in crate::topology) fn introduced(&mut self, node: &NodeKey) -> Result<(), Refusal> {
        if let Some(running) = &mut self.handover
            && running.plan.step == HandoverStep::Introducing
        {
            running.owing.remove(node);
        }
        Ok(())
    }

    /// The nodes had their time. Who has not connected to the relay by then may refuse a write;
    /// that is no reason not to go on. But a relay that nobody has reached holds nothing, and
    /// whoever tried it would refuse writes for seconds: then they are refused for milliseconds, as
    /// in a pause.
    pub(super) fn leave_introducing(&mut self, step: &mut Step) -> Result<(), Refusal> {
        let unreached = self.handover.as_mut().filter(|running| !running.relay_is_reached);
        if let Some(running) = unreached
            && let Some(relay) = running.plan.relay.take()
        {
            let plan = running.plan.clone();
            step.effects.push(Effect::CloseRelay);
            let what = format!("no node reaches the relay {relay}: writes are refused meanwhile");
            self.tell_handover(&plan, what);
        }
        self.hold_writes()
    }
}

/// Nearly all reads of the partition go to the old master; what the balances were before.
fn read_from_master(draft: &mut StoredTopology, plan: &StoredHandover) -> BTreeMap<NodeKey, i32> {
    let copies = draft.nodes.iter().filter(|(_, node)| {
        let entry = &node.entry;
        entry.role != Role::Proxy && entry.partition == plan.partition
    });
    let before: BTreeMap<NodeKey, i32> =
        copies.map(|(key, node)| (key.clone(), node.entry.balance)).collect();
    for key in before.keys() {
        let balance = if *key == plan.from { READS_PER_RELAY_READ } else { 0 };
        set(draft, key, |entry| entry.balance = balance);
    }
    before
}

/// Reads go where they went before. Who has died meanwhile has lost its balance.
pub(super) fn restore_balances(draft: &mut StoredTopology, plan: &mut StoredHandover) {
    let partition = plan.partition;
    for (key, balance) in std::mem::take(&mut plan.balances) {
        set(draft, &key, |entry| {
            if entry.role != Role::Proxy && entry.partition == partition {
                entry.balance = balance;
            }
        });
    }
}
