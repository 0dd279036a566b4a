//! What goes on for too long: a copy that does not move, a node that dies again and again, a node
//! that does not take the map in.
//!
//! Progress is judged by what a node shows, not by time alone: a copy of a day is in order while
//! items arrive.

use std::collections::BTreeSet;

use crate::model::{Role, State, Timestamp};
use crate::policy::assignment::View;
use crate::topology::Blocked;

/// A node that copies, and to which no item came for this long, does not get on.
pub const COPY_STALL_MILLIS: u64 = 300_000;

/// A node that answers, and has not taken a map in for this long, is told of to a person. The link
/// tries again every few seconds.
pub const MAP_TAKEN_MILLIS_MAX: u64 = 10_000;

/// Deaths that are further apart than this do not count together.
pub const FLAPPING_MILLIS: u64 = 600_000;

/// From its second death on a node gets no role for this long, counted from the death; twice as
/// long with each further one.
pub const FLAPPING_PAUSE_MILLIS: u64 = 5_000;

/// The longest such pause.
pub const FLAPPING_PAUSE_MILLIS_MAX: u64 = 300_000;

/// From so many deaths on a person is told.
pub const FLAPPING_DEATHS: u32 = 3;

/// What is watched of one node.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Watch {
    /// While it copies: the items that it showed, and since when it has shown so many.
    copy: Option<(u64, Timestamp)>,
    /// A version that it was to take in and has not yet, and since when.
    behind: Option<(u64, Timestamp)>,
    /// Deaths, none of them long before the next.
    deaths: u32,
    died_at: Option<Timestamp>,
}

impl Watch {
    /// What it showed of its copy.
    pub(crate) fn shows(&mut self, copying: bool, items: u64, now: Timestamp) {
        self.copy = match self.copy.filter(|_| copying) {
            Some((same, since)) if same == items => Some((same, since)),
            _ => copying.then_some((items, now)),
        };
    }

    /// It got another role, or another process took its place: a copy begins anew.
    pub(crate) fn begins_anew(&mut self) {
        self.copy = None;
    }

    /// The map of this version is to be taken in.
    pub(crate) fn is_told(&mut self, version: u64, now: Timestamp) {
        self.behind.get_or_insert((version, now));
    }

    /// It has taken this version in, of which `newest` is the newest. Was it late?
    pub(crate) fn took_in(&mut self, version: u64, newest: u64, now: Timestamp) -> bool {
        let Some((behind, _)) = self.behind.filter(|(behind, _)| version >= *behind) else {
            return false;
        };
        let was_late = self.is_late(now);
        self.behind = (version < newest).then_some((newest.max(behind), now));
        was_late
    }

    /// It died. The moment before which it gets no role again, when it does that often.
    pub(crate) fn died(&mut self, now: Timestamp) -> Option<Timestamp> {
        let soon = self.died_at.is_some_and(|at| now.millis_since(at) <= FLAPPING_MILLIS);
        self.deaths = if soon { self.deaths.saturating_add(1) } else { 1 };
        self.died_at = Some(now);
        let doubled = self.deaths.checked_sub(2)?;
        let pause = FLAPPING_PAUSE_MILLIS << doubled.min(16);
        Some(now.plus_millis(pause.min(FLAPPING_PAUSE_MILLIS_MAX)))
    }

    /// Does it copy without getting on?
    pub fn is_stalled(&self, now: Timestamp) -> bool {
        self.copy.is_some_and(|(_, since)| now.millis_since(since) >= COPY_STALL_MILLIS)
    }

    /// Should it have taken a map in long ago?
    pub fn is_late(&self, now: Timestamp) -> bool {
        self.late_at().is_some_and(|at| now >= at)
    }

    /// When it will be late.
    pub(crate) fn late_at(&self) -> Option<Timestamp> {
        self.behind.map(|(_, since)| since.plus_millis(MAP_TAKEN_MILLIS_MAX))
    }
}

/// What a person has to be told of nodes that do not get on.
pub(crate) fn note(view: &View<'_>, blocked: &mut BTreeSet<Blocked>) {
    for (node, stored) in &view.stored.nodes {
        let Some(facts) = view.facts(node).filter(|_| stored.entry.state != State::Down) else {
            continue;
        };
        let node = node.clone();
        if facts.linked && facts.watch.is_stalled(view.now) {
            blocked.insert(Blocked::CopyStalled { node: node.clone() });
        }
        if facts.linked && facts.watch.is_late(view.now) {
            blocked.insert(Blocked::MapNotTaken { node: node.clone() });
        }
        if facts.failed_as_master && stored.entry.role == Role::Master {
            blocked.insert(Blocked::NeedsRestart { node: node.clone() });
        }
        let deaths = facts.watch.deaths;
        if deaths >= FLAPPING_DEATHS && facts.retry_at.is_some_and(|at| view.now < at) {
            blocked.insert(Blocked::Flapping { node, deaths });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_stalls_when_no_item_comes_and_not_by_its_age() {
        let mut watch = Watch::default();
        for minute in 0..60 {
            watch.shows(true, minute, Timestamp(minute * 60_000));
            assert!(!watch.is_stalled(Timestamp(minute * 60_000)));
        }
        let last = 59 * 60_000;
        watch.shows(true, 59, Timestamp(last + COPY_STALL_MILLIS - 1));
        assert!(!watch.is_stalled(Timestamp(last + COPY_STALL_MILLIS - 1)));
        assert!(watch.is_stalled(Timestamp(last + COPY_STALL_MILLIS)));
        watch.shows(false, 59, Timestamp(last + COPY_STALL_MILLIS));
        assert!(!watch.is_stalled(Timestamp(last + COPY_STALL_MILLIS)));
    }

    #[test]
    fn a_node_that_dies_often_waits_longer_each_time_and_is_forgiven() {
        let mut watch = Watch::default();
        let mut now = Timestamp(0);
        let mut pauses = Vec::new();
        for _ in 0..9 {
            now = now.plus_millis(1_000);
            pauses.push(watch.died(now).map(|until| until.millis_since(now) / 1_000));
        }
        let pauses: Vec<u64> = pauses.into_iter().map(Option::unwrap_or_default).collect();
        assert_eq!(pauses, [0, 5, 10, 20, 40, 80, 160, 300, 300]);
        assert_eq!(watch.died(now.plus_millis(FLAPPING_MILLIS + 1)), None);
    }

    #[test]
    fn a_node_that_keeps_up_with_many_maps_is_never_late() {
        let mut watch = Watch::default();
        for second in 1..100 {
            let now = Timestamp(second * 1_000);
            watch.is_told(second, now);
            assert!(!watch.is_late(now));
            assert!(!watch.took_in(second - 1, second, now));
            assert!(!watch.took_in(second, second, now));
        }
        watch.is_told(100, Timestamp(100_000));
        watch.is_told(101, Timestamp(105_000));
        assert!(!watch.took_in(99, 101, Timestamp(110_000)), "an older one does not count");
        assert!(watch.is_late(Timestamp(110_000)));
        assert!(watch.took_in(100, 101, Timestamp(111_000)));
        assert!(!watch.is_late(Timestamp(111_000)), "the next has its own time");
        assert!(watch.is_late(Timestamp(121_000)));
    }
}
