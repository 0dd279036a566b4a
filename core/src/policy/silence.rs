//! Whether a copy lacks what its master wrote while nobody heard of the copy's node (R5).

use crate::model::{Role, State, Timestamp};
use crate::policy::suspicion::MonitorSettings;
use crate::stored::{LapseCause, StoredNode};

/// How long a node was silent while others answered.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Silence {
    /// Does it make a copy that a silence leaves a hole in?
    copies: bool,
    /// What the published map knows of, in milliseconds.
    known: Option<u64>,
    /// Up to when it was counted.
    counted_to: Timestamp,
    /// The present silence so far, in milliseconds.
    present: u64,
    /// The longest that ended, in milliseconds.
    longest: u64,
}

impl Silence {
    /// Nothing is known of the node's copy yet.
    pub(super) fn new(now: Timestamp) -> Self {
        Self { copies: false, known: None, counted_to: now, present: 0, longest: 0 }
    }

    /// Takes over what the map says of the node's copy; one that begins anew has no holes yet.
    pub(super) fn published(&mut self, stored: &StoredNode, now: Timestamp) {
        let entry = &stored.entry;
        let copies = match entry.role {
            Role::Slave => entry.state != State::Down,
            Role::Master => entry.state.is_preparing(),
            Role::Proxy => false,
        };
        self.known = stored.lapse.map(|lapse| match lapse.cause {
            LapseCause::Silent => lapse.silent_millis,
            LapseCause::LostRole | LapseCause::Unfinished => u64::MAX,
        });
        if copies != self.copies {
            *self = Self { copies, known: self.known, ..Self::new(now) };
        }
    }

    /// Counts the time up to now, if the index heard other nodes meanwhile: when none answered, it
    /// may be the index that was cut off, and that says nothing of masters and their slaves.
    pub(super) fn count(&mut self, heard_at: Option<Timestamp>, most: u64, now: Timestamp) {
        let passed = now.millis_since(self.counted_to);
        if heard_at.is_some_and(|heard| heard > self.counted_to) {
            self.present += passed.min(most);
            self.counted_to = now;
        } else if passed > most {
            self.counted_to = now;
        }
    }

    /// The node has answered.
    pub(super) fn end(&mut self, now: Timestamp) {
        self.longest = self.longest.max(self.present);
        self.present = 0;
        self.counted_to = now;
    }

    pub(super) fn to_be_told(&self, settings: &MonitorSettings) -> Option<u64> {
        let silent = match self.known {
            None => self.longest.max(self.present),
            // How long it was in the end is told once, when it is over.
            Some(known) if self.longest > known => self.longest,
            Some(_) => return None,
        };
        (self.copies && settings.is_a_lapse(silent)).then_some(silent)
    }
}
