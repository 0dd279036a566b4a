//! When to try a node again: how often it is pinged, and how soon a lost connection is opened.
//!
//! A rule about nodes, so it is here and not in the links that follow it (design.md 5,
//! "Detection"). Only a refusal is fast evidence: a process that is gone refuses at once, while a
//! node that is busy or has too many connections is slow or closes, and is tried at the interval.

use crate::model::Timestamp;
use crate::policy::suspicion::{Evidence, MonitorSettings};

/// The pause after a refused connection, in milliseconds: with three refusals in a row a dead
/// process is known within 200 ms of the end of its connection.
pub const REFUSED_RETRY_MILLIS: u64 = 100;

/// So many refusals in a row are tried again in short steps; then it is no news any more, and a
/// thousand dead nodes must not keep the index busy.
pub const FAST_REFUSALS_MAX: u32 = 30;

/// The pause between attempts to connect when pings are switched off, in milliseconds.
pub const UNMONITORED_RETRY_MILLIS: u64 = 1_000;

/// When one node is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Pacing {
    /// The next attempt: opening the connection where there is none, and a ping.
    next: Timestamp,
    /// Has the node answered on the present connection?
    answered: bool,
    /// Refusals in a row.
    refusals: u32,
}

impl Pacing {
    /// A node that is to be tried at once.
    pub fn new(now: Timestamp) -> Self {
        Self { next: now, answered: false, refusals: 0 }
    }

    /// The next attempt; it may be in the past, then it is due.
    pub fn next_attempt(&self) -> Timestamp {
        self.next
    }

    /// Did the connection that just ended, or stands, ever carry an answer?
    pub(super) fn answered(&self) -> bool {
        self.answered
    }

    /// Sets the next attempt by what the last one showed; `down` as in the published map.
    pub fn after(
        &mut self,
        evidence: Evidence,
        down: bool,
        settings: &MonitorSettings,
        now: Timestamp,
    ) {
        // Attempts begin an interval apart, however long the answer took to come or to be missed.
        let began = self.next.min(now);
        let pause = match settings.interval_millis {
            0 => UNMONITORED_RETRY_MILLIS,
            interval => interval,
        };
        let at_interval = began.plus_millis(pause).max(now);
        let in_a_moment = now.plus_millis(REFUSED_RETRY_MILLIS.min(pause));
        self.refusals = match evidence {
            Evidence::ConnectRefused => self.refusals.saturating_add(1),
            _ => 0,
        };
        // Nobody waits for news of a node that is known to be down, or is not monitored.
        let awaited = !down && settings.interval_millis != 0 && self.refusals <= FAST_REFUSALS_MAX;
        self.next = match evidence {
            Evidence::ConnectionEnded if self.answered => now,
            Evidence::ConnectRefused if awaited => in_a_moment,
            _ => at_interval,
        };
        self.answered = matches!(evidence, Evidence::PingAnswered { .. } | Evidence::PingFailed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: MonitorSettings =
        MonitorSettings { startup_grace_millis: 0, ..MonitorSettings::DEFAULT };

    /// When the next attempt is, after these things happened at these moments.
    fn next(happened: &[(u64, Evidence)], down: bool) -> u64 {
        let mut pacing = Pacing::new(Timestamp(0));
        for (at, evidence) in happened {
            pacing.after(*evidence, down, &SETTINGS, Timestamp(*at));
        }
        pacing.next_attempt().0
    }

    const ANSWERED: Evidence = Evidence::PingAnswered { incarnation: None };

    #[test]
    fn pings_begin_an_interval_apart_whether_answered_or_missed() {
        assert_eq!(next(&[(3, ANSWERED)], false), 1_000);
        assert_eq!(next(&[(3, ANSWERED), (1_900, ANSWERED)], false), 2_000);
        assert_eq!(next(&[(600, Evidence::PingMissed)], false), 1_000);
        assert_eq!(next(&[(2, Evidence::PingFailed)], false), 1_000);
        assert_eq!(next(&[(2, Evidence::ConnectFailed)], false), 1_000);
        assert_eq!(
            next(&[(2_500, Evidence::PingMissed)], false),
            2_500,
            "an attempt that took long"
        );
    }

    #[test]
    fn a_connection_that_worked_is_opened_again_at_once() {
        assert_eq!(next(&[(3, ANSWERED), (500, Evidence::ConnectionEnded)], false), 500);
    }

    #[test]
    fn a_connection_that_is_closed_before_it_carried_anything_is_not_opened_in_a_loop() {
        assert_eq!(next(&[(1, Evidence::ConnectionEnded)], false), 1_000);
        let happened =
            [(3, ANSWERED), (500, Evidence::ConnectionEnded), (501, Evidence::ConnectionEnded)];
        assert_eq!(next(&happened, false), 1_500);
    }

    #[test]
    fn a_refused_connection_is_tried_in_short_steps_until_the_node_is_down() {
        assert_eq!(next(&[(1, Evidence::ConnectRefused)], false), 101);
        assert_eq!(next(&[(1, Evidence::ConnectRefused)], true), 1_000);
    }

    #[test]
    fn a_port_that_goes_on_refusing_is_tried_at_the_interval() {
        let mut pacing = Pacing::new(Timestamp(0));
        for _ in 0..FAST_REFUSALS_MAX {
            let now = pacing.next_attempt();
            pacing.after(Evidence::ConnectRefused, false, &SETTINGS, now);
            assert_eq!(pacing.next_attempt(), now.plus_millis(REFUSED_RETRY_MILLIS));
        }
        let now = pacing.next_attempt();
        pacing.after(Evidence::ConnectRefused, false, &SETTINGS, now);
        assert_eq!(pacing.next_attempt(), now.plus_millis(1_000));
        pacing.after(ANSWERED, false, &SETTINGS, now.plus_millis(1_000));
        let again = now.plus_millis(1_500);
        pacing.after(Evidence::ConnectRefused, false, &SETTINGS, again);
        assert_eq!(pacing.next_attempt(), again.plus_millis(REFUSED_RETRY_MILLIS));
    }

    #[test]
    fn without_pings_the_connection_is_still_kept_up() {
        let off = MonitorSettings { interval_millis: 0, ..SETTINGS };
        let mut pacing = Pacing::new(Timestamp(0));
        pacing.after(Evidence::ConnectRefused, false, &off, Timestamp(1));
        assert_eq!(pacing.next_attempt(), Timestamp(UNMONITORED_RETRY_MILLIS));
    }
}
