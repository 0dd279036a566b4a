//! When the topology wants to be called though nothing comes in.

use crate::model::Timestamp;
use crate::topology::{Effect, Mode, PROBE_INTERVAL_MILLIS, Step, Topology};

impl Topology {
    /// Asks to be called at the next moment that matters.
    pub(super) fn tell_wake(&mut self, now: Timestamp, step: &mut Step) {
        let automatic = matches!(self.settings.mode, Mode::Automatic(_));
        let retries = self.facts.values().filter_map(|facts| facts.retry_at);
        let linked = self.facts.values().filter(|facts| facts.linked);
        let late = linked.filter_map(|facts| facts.watch.late_at());
        let next = [
            self.staged_push.as_ref().map(|pending| pending.deadline),
            self.handover.as_ref().and_then(|running| running.deadline),
            self.held.iter().map(|held| held.deadline).min(),
            self.drains.values().map(|drain| drain.until).filter(|until| *until > now).min(),
            self.leavers.iter().map(|leaver| leaver.deadline).min(),
            self.pause_until.filter(|until| *until > now),
            self.look_at.filter(|at| automatic && *at > now),
            retries.filter(|at| automatic && *at > now).min(),
            late.filter(|at| automatic && *at > now).min(),
            (automatic && (self.preparing || self.probing))
                .then(|| now.plus_millis(PROBE_INTERVAL_MILLIS)),
        ]
        .into_iter()
        .flatten()
        .min();
        match (self.wake_told.filter(|told| *told > now), next) {
            (Some(told), Some(next)) if told <= next => {}
            (_, Some(next)) => {
                self.wake_told = Some(next);
                step.effects.push(Effect::WakeAt(next));
            }
            (_, None) => {}
        }
    }
}
