//! Writers at a node that has just become a slave, who may wait for their own writes.
//!
//! Between the moment in which a master knows of a slave and that in which the slave knows it
//! itself, a write that a client sends through the slave comes back to it as a copy, and is sent on
//! behind the write that waits for it. In sync mode both wait for four times `net-read-timeout`,
//! 40 minutes unless that is set, and with them every write on that connection. On real nodes, with
//! clients that write through the node without pause, 26 of 26 copies began so (verification.md,
//! "Who waits for whom in sync mode"). To tell the slave first would lose writes. So the
//! connections on which a write waits that long are ended: its client gets an error, though it was
//! carried out, and the others go on.

use crate::model::{NodeKey, Role};
use crate::topology::{Effect, Mode, Step, Topology};

impl Topology {
    /// A node knows that it copies as a slave: its writers are looked after for a while, once.
    pub(super) fn free_stuck_writers(&mut self, node: &NodeKey, step: &mut Step) {
        let Mode::Automatic(_) = self.settings.mode else { return };
        let nodes = &self.snapshot.stored().nodes;
        let Some(entry) = nodes.get(node).map(|node| node.entry) else { return };
        let Some(facts) = self.facts.get_mut(node) else { return };
        if entry.role != Role::Slave || facts.freed_for >= facts.role_version {
            return;
        }
        facts.freed_for = facts.role_version;
        if let Some(master) = nodes.values().find(|node| node.entry.is_master_of(entry.partition)) {
            let (node, towards) = (node.clone(), master.entry.thread_type);
            step.effects.push(Effect::FreeStuckWriters { node, towards });
        }
    }
}
