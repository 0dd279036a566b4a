//! Who may take over as master has its connections to the other slaves before that.
//!
//! A slave sends nothing to the other slaves of its partition, so one that is promoted makes its
//! connections to them with its first writes, and drops what else meets that moment (see
//! [`super::connections`]). The write of ours that comes with the map is not always the first: it
//! was not in 11 of 80 failovers of real nodes whose clients, connected to the new master, tried
//! again when the old one did not answer. The other slave lacked some of their writes for good.
//!
//! But a read that is passed on makes the same connections, and a node that is about to become a
//! slave still passes reads on to the copies that there are. So it is asked for a key of their
//! partition, so often that each of them is meant. Nothing is written, no map is made for it, and
//! nobody waits for it. The newest slave is then connected to all older ones, though they are not
//! to it: of slaves that may take over, one that is connected to all others does
//! ([`crate::policy::promotion`]). Whom it has connections to a node shows by itself, so a restart
//! of the index forgets nothing.

use crate::model::{NodeEntry, NodeKey, Role, State};
use crate::policy::assignment::Action;
use crate::protocol::node::connect::READS_MAX;
use crate::stored::StoredTopology;
use crate::topology::connections::reserved_key_of;
use crate::topology::{ConnectingHow, ConnectingRequest, Effect, Facts, Step, Topology};

/// So many reads are meant for each node: that one of them is missed happens once in ten million
/// times (e to the power of minus this).
const READS_PER_NODE: u32 = 16;

/// The thread types of the other slaves that are sent what the master of this partition writes.
pub(crate) fn other_slaves<'a>(
    stored: &'a StoredTopology,
    partition: i32,
    node: &'a NodeKey,
) -> impl Iterator<Item = u32> + 'a {
    let others = stored.nodes.iter().filter(move |(key, known)| {
        *key != node && known.entry.is_slave_of(partition) && known.entry.state != State::Down
    });
    others.map(|(_, known)| known.entry.thread_type)
}

/// The reads that make a node without a role connect to the slaves of a partition, and the thread
/// types of those. `None` when there is none yet, or when one of the nodes that would be asked may
/// not answer: the index's connection to the node would wait for it.
fn reads(
    stored: &StoredTopology,
    partition: i32,
    answers: impl Fn(&NodeKey) -> bool,
) -> Option<(ConnectingRequest, Vec<u32>)> {
    let is_read = |entry: &NodeEntry| {
        entry.role != Role::Proxy
            && entry.partition == partition
            && entry.state == State::Active
            && entry.balance > 0
    };
    let copies = || stored.nodes.iter().filter(|(_, known)| is_read(&known.entry));
    let slaves = || copies().map(|(_, known)| known.entry).filter(|it| it.role == Role::Slave);
    let weight = |entry: &NodeEntry| u32::try_from(entry.balance).unwrap_or(0);
    let least = slaves().map(|slave| weight(&slave)).min()?;
    if !copies().all(|(key, _)| answers(key)) {
        return None;
    }
    let all = copies().fold(0_u32, |sum, (_, known)| sum.saturating_add(weight(&known.entry)));
    let times = all.saturating_mul(READS_PER_NODE).div_ceil(least).min(READS_MAX);
    let key = reserved_key_of(stored, partition)?;
    let request = ConnectingRequest { key, how: ConnectingHow::Read(times) };
    Some((request, slaves().map(|slave| slave.thread_type).collect()))
}

impl Topology {
    /// A node that is about to become a slave connects to those that there are.
    pub(super) fn connect_to_slaves(&self, action: &Action, step: &mut Step) {
        let Action::Assign { node, role: Role::Slave, partition } = action else { return };
        let answers = |key: &NodeKey| {
            self.facts.get(key).is_some_and(|facts: &Facts| facts.answers() && !facts.suspected)
        };
        let Some((request, towards)) = reads(self.snapshot.stored(), *partition, answers) else {
            return;
        };
        let (node, version) = (node.clone(), self.snapshot.version());
        step.effects.push(Effect::Connect { node, version, request, towards });
    }
}
