//! Which nodes are held dead, and which alive again: evidence in, orders out.
//!
//! The failover actor owns one [`Suspicion`] and feeds it with what the links saw. Orders are
//! level-triggered: as long as the published map does not show what was ordered, every further
//! piece of evidence orders it again, so that a refused or stale order is not lost. Each order
//! carries what it was based on. Facts: design.md 5 "Detection", flare-protocol.md 7.1.
//!
//! In manual mode it is the same machine with flarei's settings: no grace, and a restart that
//! nobody noticed is not a death.

use std::collections::BTreeMap;

use crate::model::{Incarnation, NodeKey, Role, State, Timestamp};
use crate::policy::breaker::Census;
use crate::policy::pacing::Pacing;
use crate::policy::silence::Silence;
use crate::stored::Holding;
use crate::topology::{DownReason, Input, Seen, Snapshot};

/// How long a node that announced its end may still answer, in milliseconds: an idle flared is
/// gone well within it (flare-protocol.md 6.5). Only an answer that comes later is a return.
pub const RETURN_PAUSE_MILLIS: u64 = 500;

/// How long a master keeps trying to send a write to a slave that refuses connections, in
/// milliseconds: four attempts, each of nine connects half a second apart (flare-protocol.md 2 and
/// 5.4; seen: 18 s). To one that hangs it takes four times flared's `net-read-timeout`, 40 minutes
/// at its default of 600 s; who sets that below 4.5 s sets this lower, too.
pub const LAPSE_MILLIS: u64 = 18_000;

/// What is counted as silence between two pieces of evidence is at most an attempt and its pause,
/// and this, in milliseconds: when the index itself stood still, nothing was seen.
const SILENCE_SLACK_MILLIS: u64 = 2_000;

/// How nodes are watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MonitorSettings {
    /// Between the beginnings of two pings, in milliseconds; 0 switches pings off, and with them
    /// all orders, as in flarei.
    pub interval_millis: u64,
    /// How long the answer to a ping may take, in milliseconds; the links keep to it.
    pub read_timeout_millis: u64,
    /// Failures in a row before a node is held dead; with 0 no number of them is enough, as in
    /// flarei.
    pub threshold: u32,
    /// How long after the start of the index a node that was not heard from since is not held
    /// dead, in milliseconds: nodes and index may be started together. 0 in manual mode.
    pub startup_grace_millis: u64,
    /// Is a node down when another process answers under its name (R13)? Not in manual mode.
    pub restart_is_death: bool,
    /// Are nodes held dead though no node answers? It may be the index that is cut off, and a node
    /// that takes over would have to answer. Only in manual mode, as in flarei.
    pub silence_of_all_is_death: bool,
    /// A slave that was silent for so long, in milliseconds, though not held dead, lacks writes:
    /// its master may have given up sending them ([`LAPSE_MILLIS`]). With 0 no silence is a
    /// lapse, as in manual mode.
    pub lapse_millis: u64,
}

impl MonitorSettings {
    /// The defaults of `spec.monitor` and `spec.startupGraceSeconds` (design.md 7).
    pub const DEFAULT: Self = Self {
        interval_millis: 1_000,
        read_timeout_millis: 1_000,
        threshold: 3,
        startup_grace_millis: 30_000,
        restart_is_death: true,
        silence_of_all_is_death: false,
        lapse_millis: LAPSE_MILLIS,
    };

    /// Are so many failures in a row a death?
    fn are_a_death(&self, failures: u32) -> bool {
        self.threshold != 0 && failures >= self.threshold
    }

    /// Is so long a silence, in milliseconds, a lapse?
    pub(super) fn is_a_lapse(&self, silent_millis: u64) -> bool {
        self.lapse_millis != 0 && silent_millis >= self.lapse_millis
    }

    /// The longest time between two pieces of evidence that was spent with looking.
    fn looking_millis_max(&self) -> u64 {
        self.interval_millis.saturating_add(self.read_timeout_millis) + SILENCE_SLACK_MILLIS
    }
}

/// What a link saw of its node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Evidence {
    /// It answered a ping with `OK`.
    PingAnswered {
        /// The process at the other end, once its `stats` were read on this connection.
        incarnation: Option<Incarnation>,
    },
    /// It did not answer in time; the connection is given up, and its end is no evidence again.
    PingMissed,
    /// It answered a ping with an error, such as `SERVER_ERROR storage error`.
    PingFailed,
    /// The connection was refused.
    ConnectRefused,
    /// The connection could not be opened for another reason: no route, no such name, no answer.
    ConnectFailed,
    /// The connection ended, after it had been open.
    ConnectionEnded,
}

impl Evidence {
    /// Does it look the same when the index itself is cut off?
    fn is_silence(self) -> bool {
        matches!(self, Self::PingMissed | Self::ConnectFailed)
    }
}

/// Who is suspected of what.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Suspicion {
    settings: MonitorSettings,
    began: Timestamp,
    version: u64,
    /// When a node last answered, whichever it was: it shows that the index's own network works.
    heard_at: Option<Timestamp>,
    nodes: BTreeMap<NodeKey, Watched>,
}

/// What is known of one node.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Watched {
    /// Since when the published map shows it down.
    down_since: Option<Timestamp>,
    /// The process that the published map knows.
    mapped: Option<Incarnation>,
    /// The process that last answered.
    answered: Option<Incarnation>,
    /// Has it a role, or did it lose one by dying?
    assigned: bool,
    /// Has it answered since the index started?
    heard: bool,
    /// Failures in a row.
    failures: u32,
    /// When the first of them was seen, since which there was only silence.
    silent_since: Option<Timestamp>,
    /// Was the topology told that it is doubted?
    told_suspected: bool,
    silence: Silence,
    pacing: Pacing,
}

impl Suspicion {
    /// Knows no node yet; the startup grace begins now.
    pub fn new(settings: MonitorSettings, now: Timestamp) -> Self {
        Self { settings, began: now, version: 0, heard_at: None, nodes: BTreeMap::new() }
    }

    /// Other settings from now on; counts go on.
    pub fn change_settings(&mut self, settings: MonitorSettings) {
        self.settings = settings;
    }

    /// The settings in force.
    pub fn settings(&self) -> &MonitorSettings {
        &self.settings
    }

    /// Takes over which nodes there are and which of them are down.
    pub fn published(&mut self, snapshot: &Snapshot, now: Timestamp) {
        self.version = snapshot.version();
        self.nodes.retain(|node, _| snapshot.node(node).is_some());
        for (node, stored) in &snapshot.stored().nodes {
            let watched = self.nodes.entry(node.clone()).or_insert_with(|| Watched::new(now));
            watched.mapped = stored.incarnation;
            watched.silence.published(stored, now);
            watched.assigned = match stored.entry.role {
                Role::Master | Role::Slave => true,
                Role::Proxy => {
                    stored.entry.state == State::Down
                        && matches!(stored.holds, Holding::Partition(_))
                }
            };
            match stored.entry.state {
                // In a pause it is only shown so: whether it dies matters as ever.
                State::Down if !snapshot.stored().is_paused(node) => {
                    watched.down_since = watched.down_since.or(Some(now));
                }
                _ if watched.down_since.is_some() => {
                    // It was given back: what was counted against it is over.
                    watched.down_since = None;
                    watched.forgive();
                }
                _ => {}
            }
        }
    }

    /// Takes one piece of evidence in; what is to be ordered of the topology because of it.
    ///
    /// Evidence about a node that is not in the published map is late and means nothing.
    #[must_use = "an order that is not sent is only given again with the next evidence"]
    pub fn take(&mut self, node: &NodeKey, evidence: Evidence, now: Timestamp) -> Option<Input> {
        let in_grace = now.millis_since(self.began) < self.settings.startup_grace_millis;
        let looking_max = self.settings.looking_millis_max();
        let answered = matches!(evidence, Evidence::PingAnswered { .. });
        let before = self.nodes.get(node)?;
        let failed_before = before.failures > 0;
        let was_dead = self.settings.are_a_death(before.failures);
        if answered && was_dead && self.nobody_answered_since(before) {
            // The index was cut off until now: what others failed is no evidence either.
            let silent = self.nodes.values_mut().filter(|it| it.silent_since.is_some());
            silent.for_each(Watched::forgive);
        }
        let watched = self.nodes.get_mut(node)?;
        let failure = watched.note(evidence, now);
        if failure.is_some() || (answered && failed_before) {
            watched.silence.count(self.heard_at, looking_max, now);
        }
        if answered {
            watched.silence.end(now);
            self.heard_at = Some(now);
        }
        watched.pacing.after(evidence, watched.down_since.is_some(), &self.settings, now);
        if self.settings.interval_millis == 0 {
            return None;
        }
        let seen = Seen { version: self.version, incarnation: watched.answered };
        let node = node.clone();
        match (failure, watched.down_since) {
            (None, Some(since)) => watched
                .is_back(evidence, now.millis_since(since) >= RETURN_PAUSE_MILLIS)
                .then_some(Input::Return { node, seen }),
            (None, None) => (self.settings.restart_is_death && watched.is_restarted(evidence))
                .then_some(Input::MarkDown { node, seen, reason: DownReason::Restarted }),
            (Some(_), Some(_)) => None,
            (Some(reason), None) => {
                let dead = self.settings.are_a_death(watched.failures);
                let watched = self.nodes.get(&node)?;
                let excused = in_grace && !watched.heard;
                let nobody = self.nobody_answered_since(watched);
                (dead && !excused && !nobody).then_some(Input::MarkDown { node, seen, reason })
            }
        }
    }

    /// Has no node answered since this one fell silent? Then it may be the index that is cut off.
    /// A node that is the only one has nobody to answer beside it.
    fn nobody_answered_since(&self, watched: &Watched) -> bool {
        !self.settings.silence_of_all_is_death
            && self.nodes.len() > 1
            && watched.silent_since.is_some_and(|since| self.heard_at <= Some(since))
    }

    /// What the topology is to be told of a silence of the node that is longer than its master
    /// keeps trying, as long as the published map does not show it.
    pub fn lapse(&self, node: &NodeKey) -> Option<Input> {
        let watched = self.nodes.get(node)?;
        let silent_millis = watched.silence.to_be_told(&self.settings)?;
        let seen = Seen { version: self.version, incarnation: watched.answered };
        Some(Input::Lapsed { node: node.clone(), seen, silent_millis })
    }

    /// What the topology is to be told when a node begins to be doubted, and when that is over.
    #[must_use = "it is said once"]
    pub fn suspect(&mut self, node: &NodeKey) -> Option<Input> {
        let watched = self.nodes.get_mut(node)?;
        let suspected = watched.failures > 0;
        if std::mem::replace(&mut watched.told_suspected, suspected) == suspected {
            return None;
        }
        Some(Input::Suspected { node: node.clone(), suspected })
    }

    /// How many nodes have a role, or lost it by dying, and how many of them are dead now:
    /// whether the map shows it already or not. One that is down in the map and answers is alive,
    /// though it may not be given back: a master that comes back empty waits for what only a
    /// closed breaker lets happen.
    pub fn census(&self) -> Census {
        let mut census = Census::default();
        for watched in self.nodes.values().filter(|watched| watched.assigned) {
            census.assigned += 1;
            let silent = !watched.pacing.answered();
            let dead = self.settings.are_a_death(watched.failures)
                || (watched.down_since.is_some() && silent);
            census.dead += u32::from(dead);
            census.unheard += u32::from(!dead && !watched.heard);
        }
        census
    }

    /// When the node is to be tried next: opened where there is no connection, and pinged (not
    /// pinged when [`MonitorSettings::interval_millis`] is 0). `None` for a node that is not in
    /// the published map.
    pub fn next_attempt(&self, node: &NodeKey) -> Option<Timestamp> {
        self.nodes.get(node).map(|watched| watched.pacing.next_attempt())
    }

    /// Failures in a row of a node, for people: 0 for one that is well, or not known.
    pub fn failures(&self, node: &NodeKey) -> u32 {
        self.nodes.get(node).map_or(0, |watched| watched.failures)
    }
}

impl Watched {
    fn new(now: Timestamp) -> Self {
        Self {
            down_since: None,
            assigned: false,
            mapped: None,
            answered: None,
            heard: false,
            failures: 0,
            silent_since: None,
            told_suspected: false,
            silence: Silence::new(now),
            pacing: Pacing::new(now),
        }
    }

    /// Counts the evidence; what it is evidence for, if it speaks against the node.
    fn note(&mut self, evidence: Evidence, now: Timestamp) -> Option<DownReason> {
        let failure = match evidence {
            Evidence::PingAnswered { incarnation } => {
                self.heard = true;
                self.forgive();
                self.answered = incarnation.or(self.answered);
                return None;
            }
            // The end of a connection that worked shows nothing: the next attempt will.
            Evidence::ConnectionEnded if self.pacing.answered() => return None,
            // A node with too many connections accepts and closes, and so does a forwarder whose
            // node is gone: slow evidence, at the interval.
            Evidence::PingMissed | Evidence::ConnectFailed | Evidence::ConnectionEnded => {
                DownReason::Silent
            }
            Evidence::PingFailed => {
                self.heard = true;
                DownReason::Sick
            }
            Evidence::ConnectRefused => DownReason::Refused,
        };
        self.failures = self.failures.saturating_add(1);
        // The network works where a connection is refused, or ended.
        self.silent_since = evidence.is_silence().then(|| self.silent_since.unwrap_or(now));
        Some(failure)
    }

    /// What was counted against it means nothing any more.
    fn forgive(&mut self) {
        (self.failures, self.silent_since) = (0, None);
    }

    /// Is a node that is down alive again? Its process must be known, since the topology decides
    /// by what it holds.
    fn is_back(&self, evidence: Evidence, long_enough: bool) -> bool {
        long_enough && matches!(evidence, Evidence::PingAnswered { incarnation: Some(_) })
    }

    /// Does another process answer than the one that the map knows? The map takes the new one
    /// over when it has seen to the restart, and the orders end.
    fn is_restarted(&self, evidence: Evidence) -> bool {
        match (evidence, self.mapped) {
            (Evidence::PingAnswered { incarnation: Some(answered) }, Some(mapped)) => {
                !mapped.is_same(&answered)
            }
            _ => false,
        }
    }
}

#[cfg(test)]
#[path = "suspicion_tests.rs"]
mod tests;
