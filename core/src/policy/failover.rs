//! Failover as one machine: suspicion of single nodes under the circuit breaker's eyes.
//!
//! The failover actor owns it. Evidence goes in; orders for the topology come out, unless the
//! breaker is open: then nobody is held dead, however silent (R11). A node that comes back is
//! given back even then: that takes nothing from anyone.

use crate::model::{NodeKey, Timestamp};
use crate::policy::breaker::{Breaker, BreakerSettings, Census};
use crate::policy::suspicion::{Evidence, MonitorSettings, Suspicion};
use crate::topology::{Input, Snapshot};

/// Who is held dead, and whether the index may act on it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Failover {
    suspicion: Suspicion,
    settings: BreakerSettings,
    breaker: Breaker,
    census: Census,
}

impl Failover {
    /// Knows no node yet. `open`: the breaker was open when the index stopped.
    pub fn new(
        monitoring: MonitorSettings,
        breaking: BreakerSettings,
        open: bool,
        now: Timestamp,
    ) -> Self {
        let breaker = if open { Breaker::Open } else { Breaker::Closed };
        let suspicion = Suspicion::new(monitoring, now);
        Self { suspicion, settings: breaking, breaker, census: Census::default() }
    }

    /// The watch over single nodes.
    pub fn suspicion(&self) -> &Suspicion {
        &self.suspicion
    }

    /// Other settings from now on; what was counted goes on.
    pub fn change_monitoring(&mut self, settings: MonitorSettings) {
        self.suspicion.change_settings(settings);
    }

    /// Other thresholds from now on; what they mean is seen with the next evidence.
    pub fn change_breaking(&mut self, settings: BreakerSettings) {
        self.settings = settings;
    }

    /// The thresholds in force.
    pub fn breaking(&self) -> &BreakerSettings {
        &self.settings
    }

    /// What the breaker is doing, and what it last counted.
    pub fn breaker(&self) -> (Breaker, Census) {
        (self.breaker, self.census)
    }

    /// Takes over which nodes there are, what they are for, and which of them are down.
    #[must_use = "the topology must know whether it may act"]
    pub fn published(&mut self, snapshot: &Snapshot, now: Timestamp) -> Option<Input> {
        self.suspicion.published(snapshot, now);
        self.count(now)
    }

    /// Takes one piece of evidence in; what is to be told to the topology because of it, in this
    /// order.
    #[must_use = "an order that is not sent is only given again with the next evidence"]
    pub fn take(&mut self, node: &NodeKey, evidence: Evidence, now: Timestamp) -> Vec<Input> {
        let order = self.suspicion.take(node, evidence, now);
        let mut told: Vec<Input> = self.count(now).into_iter().collect();
        let held_back = matches!(order, Some(Input::MarkDown { .. })) && self.breaker.is_open();
        told.extend(self.suspicion.suspect(node));
        match order.filter(|_| !held_back) {
            Some(order) => told.push(order),
            // It takes nothing from anyone, so the breaker does not hold it back; one that is
            // marked down loses its role, and with it what a lapse would be held against.
            None => told.extend(self.suspicion.lapse(node)),
        }
        told
    }

    /// Time alone may close a breaker that recovers.
    #[must_use = "the topology must know whether it may act"]
    pub fn wake(&mut self, now: Timestamp) -> Option<Input> {
        self.count(now)
    }

    /// A person closes the breaker.
    #[must_use = "the topology must know whether it may act"]
    pub fn reset(&mut self) -> Option<Input> {
        self.become_(self.breaker.reset(&self.settings, self.census))
    }

    fn count(&mut self, now: Timestamp) -> Option<Input> {
        self.census = self.suspicion.census();
        self.become_(self.breaker.counted(&self.settings, self.census, now))
    }

    fn become_(&mut self, next: Breaker) -> Option<Input> {
        let changed = self.breaker.is_open() != next.is_open();
        self.breaker = next;
        let Census { assigned, dead, .. } = self.census;
        changed.then_some(Input::BreakerChanged { open: next.is_open(), assigned, dead })
    }
}

#[cfg(test)]
#[path = "failover_tests.rs"]
mod tests;
