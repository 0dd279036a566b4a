//! What other nodes still have on its way to a node that had a role.
//!
//! A flared tries a request up to four times, which takes it 18 s and more, and does not look at
//! the map in between (flare-protocol.md 5.4); and a slave carries out whatever another node sends
//! on to it, be it the master's copy or a write on its way to a master that it is no longer (5.3).
//! So a write that was under way when a master died is, if that is back and a slave within those
//! seconds, acknowledged and is nowhere else. A node without a role sends it on to the new master.
//! That is why a node that had a role stays without one until nobody has anything on its way to it.
//! On real nodes, a master killed and back after 0.8 s: 12 of 36,606 acknowledged writes lost when
//! the role came at once, none of 96,238 this way.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{NodeKey, State, Timestamp};
use crate::topology::{Effect, Step, Topology};

/// How long a node is kept without a role at most, in milliseconds: more than four tries take.
pub const DRAIN_WAIT_MILLIS: u64 = 30_000;

/// How long nobody's queue is looked at after the node is back, in milliseconds. A flared ends its
/// connections to a node that dies, and makes new ones when that is back; what it takes for an old
/// one that is just ending it drops with a line in its log, and acknowledges it all the same (seen
/// once with a slave that got its role 10 ms after its return: it lacked that write for good).
const DRAIN_SETTLE_MILLIS: u64 = 1_000;

/// Who may have something on its way to one node.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Drain {
    /// Who, and whether its queue is watched already: that begins when it knows the map in which
    /// the node has no role.
    on: BTreeMap<NodeKey, bool>,
    /// At this moment waiting ends, whoever is still waited for.
    pub(super) until: Timestamp,
}

impl Topology {
    /// Waits for what is on its way to these nodes. Whether there is nothing more, so that one of
    /// them may be used now.
    pub(super) fn drain(
        &mut self,
        nodes: &BTreeSet<NodeKey>,
        now: Timestamp,
        step: &mut Step,
    ) -> bool {
        let lives = |key: &NodeKey| {
            let node = self.proposed.nodes.get(key);
            node.is_some_and(|node| node.entry.state != State::Down)
        };
        self.drains.retain(|key, drain| now < drain.until || nodes.contains(key));
        let mut any_done = false;
        for node in nodes {
            let drain = self.drains.entry(node.clone()).or_insert_with(|| Drain {
                on: self.facts.keys().map(|other| (other.clone(), false)).collect(),
                until: now.plus_millis(DRAIN_WAIT_MILLIS),
            });
            // What a dead node had on its way is gone with it.
            drain.on.retain(|other, _| other != node && lives(other));
            if drain.on.is_empty() || now >= drain.until {
                self.drains.remove(node);
                if let Some(facts) = self.facts.get_mut(node) {
                    facts.drained = true;
                    any_done = true;
                }
            }
        }
        self.watch_drains(step);
        any_done
    }

    /// Watches the queues of those that know by now that the node has no role.
    pub(super) fn watch_drains(&mut self, step: &mut Step) {
        for (to, drain) in &mut self.drains {
            let (Some(stored), Some(facts)) = (self.proposed.nodes.get(to), self.facts.get(to))
            else {
                continue;
            };
            let (towards, until) = (stored.entry.thread_type, drain.until);
            for (by, watched) in drain.on.iter_mut().filter(|(_, watched)| !**watched) {
                let acked = self.facts.get(by).map_or(0, |facts| facts.acked);
                if acked > 0 && acked >= facts.role_version {
                    *watched = true;
                    let (node, settle_millis) = (by.clone(), DRAIN_SETTLE_MILLIS);
                    let watch = Effect::WatchQueue { node, towards, until, settle_millis };
                    step.effects.push(watch);
                }
            }
        }
    }

    /// A node has nothing left towards a thread type.
    pub(super) fn drained(&mut self, by: &NodeKey, towards: u32) {
        for (to, drain) in &mut self.drains {
            let thread_type = self.proposed.nodes.get(to).map(|node| node.entry.thread_type);
            if thread_type == Some(towards) {
                drain.on.remove(by);
            }
        }
    }
}
