//! The circuit breaker: when too many nodes are dead at once, the index stops acting by itself.
//!
//! A whole zone that vanishes, or an index that lost its network, looks like many deaths; each
//! failover then takes one more copy away. While the breaker is open nothing is failed over,
//! assigned or demoted, and nodes serve with the last map (R11). It looks at what is dead *now*:
//! deaths spread over time count as much as those of one moment.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::model::Timestamp;

/// The healthy share must hold this long before an open breaker closes by itself: a zone that
/// flaps does not flap the breaker with it.
pub const RECOVERY_MILLIS: u64 = 10_000;

/// When the breaker trips and resets (`spec.circuitBreaker`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct BreakerSettings {
    /// Without it the breaker never trips.
    pub enabled: bool,
    /// Trips when this share of the assigned nodes is dead, in percent, 1 to 100.
    pub trip_percent: u32,
    /// Resets when this share is healthy, in percent, above 100 - `trip_percent`.
    pub reset_percent: u32,
    /// Does it reset by itself, or wait for a person?
    pub auto_reset: bool,
    /// Fewer dead nodes than this never trip it; 2 lets a cluster of two nodes fail over.
    pub min_dead: u32,
}

impl BreakerSettings {
    /// The settings of a manifest that says nothing of the breaker (design.md 5).
    pub const DEFAULT: Self =
        Self { enabled: true, trip_percent: 50, reset_percent: 80, auto_reset: true, min_dead: 2 };
}

impl Default for BreakerSettings {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Why breaker settings make no sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BreakerSettingsError {
    /// A share outside 1 to 100.
    #[error("{name} is {value}; it is a share in percent, from 1 to 100")]
    NotAShare {
        /// The field, as in the manifest.
        name: &'static str,
        /// What it was.
        value: u32,
    },
    /// It would reset while it still trips.
    #[error(
        "resetThresholdPercent is {reset}, but with tripThresholdPercent {trip} it must be above \
         {}, or the breaker would reset while as many nodes are dead as trip it",
        100 - trip
    )]
    ResetsWhileTripped {
        /// `tripThresholdPercent`.
        trip: u32,
        /// `resetThresholdPercent`.
        reset: u32,
    },
    /// No death at all would trip it.
    #[error("minDeadNodes is 0; it must be at least 1, or the breaker would trip without a death")]
    NoDeaths,
}

impl BreakerSettings {
    /// Checks the settings.
    ///
    /// # Errors
    /// Names the field that is wrong, and what it may be.
    pub fn check(&self) -> Result<(), BreakerSettingsError> {
        let shares = [
            ("tripThresholdPercent", self.trip_percent),
            ("resetThresholdPercent", self.reset_percent),
        ];
        if let Some((name, value)) = shares.into_iter().find(|(_, v)| !(1..=100).contains(v)) {
            return Err(BreakerSettingsError::NotAShare { name, value });
        }
        if self.min_dead == 0 {
            return Err(BreakerSettingsError::NoDeaths);
        }
        if self.reset_percent <= 100 - self.trip_percent {
            let (trip, reset) = (self.trip_percent, self.reset_percent);
            return Err(BreakerSettingsError::ResetsWhileTripped { trip, reset });
        }
        Ok(())
    }

    fn trips(&self, census: Census) -> bool {
        let share = u64::from(census.dead) * 100;
        self.enabled
            && census.dead >= self.min_dead
            && share >= u64::from(self.trip_percent) * u64::from(census.assigned)
    }

    fn resets(&self, census: Census) -> bool {
        let ill = census.dead.saturating_add(census.unheard);
        let healthy = u64::from(census.assigned.saturating_sub(ill)) * 100;
        !self.enabled || healthy >= u64::from(self.reset_percent) * u64::from(census.assigned)
    }
}

/// How many nodes have a role, or lost it by dying, and how many of them are dead now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Census {
    /// Nodes with a role, and dead ones that had one.
    pub assigned: u32,
    /// Those of them that are dead now.
    pub dead: u32,
    /// Those of which nothing was heard since the index started: neither dead nor healthy.
    pub unheard: u32,
}

/// What the breaker is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Breaker {
    /// The index acts.
    #[default]
    Closed,
    /// The index does not act.
    Open,
    /// Enough nodes are healthy again, since this moment; the index does not act yet.
    Recovering(Timestamp),
    /// A person closed it although so many are dead; it trips again only when more die.
    Overridden {
        /// The dead at that moment.
        accepted: u32,
    },
}

impl Breaker {
    /// Is the index kept from acting?
    pub fn is_open(self) -> bool {
        matches!(self, Self::Open | Self::Recovering(_))
    }

    /// The breaker after this count of the nodes.
    #[must_use]
    pub fn counted(self, settings: &BreakerSettings, census: Census, now: Timestamp) -> Self {
        let trips = settings.trips(census);
        match self {
            _ if !settings.enabled => Self::Closed,
            Self::Closed if trips => Self::Open,
            Self::Closed => Self::Closed,
            Self::Overridden { accepted } if trips && census.dead > accepted => Self::Open,
            Self::Overridden { .. } if !trips => Self::Closed,
            Self::Overridden { .. } => self,
            Self::Open if settings.auto_reset && settings.resets(census) => Self::Recovering(now),
            Self::Open => Self::Open,
            Self::Recovering(_) if !settings.auto_reset || !settings.resets(census) => Self::Open,
            Self::Recovering(since) if now.millis_since(since) >= RECOVERY_MILLIS => Self::Closed,
            Self::Recovering(_) => self,
        }
    }

    /// The breaker after a person closed it.
    #[must_use]
    pub fn reset(self, settings: &BreakerSettings, census: Census) -> Self {
        match settings.trips(census) {
            true => Self::Overridden { accepted: census.dead },
            false => Self::Closed,
        }
    }

    /// When it may close by itself, if nothing else happens.
    pub fn closes_at(self) -> Option<Timestamp> {
        match self {
            Self::Recovering(since) => Some(since.plus_millis(RECOVERY_MILLIS)),
            Self::Closed | Self::Open | Self::Overridden { .. } => None,
        }
    }
}

impl fmt::Display for Breaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::Recovering(_) => "recovering",
            Self::Overridden { .. } => "closed by a person",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_000);

    fn census(assigned: u32, dead: u32) -> Census {
        Census { assigned, dead, unheard: 0 }
    }

    fn after(breaker: Breaker, settings: &BreakerSettings, assigned: u32, dead: u32) -> Breaker {
        breaker.counted(settings, census(assigned, dead), NOW)
    }

    #[test]
    fn one_death_in_a_cluster_of_two_does_not_trip_it_by_default() {
        let defaults = BreakerSettings::default();
        assert_eq!(after(Breaker::Closed, &defaults, 2, 1), Breaker::Closed);
        let strict = BreakerSettings { min_dead: 1, ..defaults };
        assert_eq!(after(Breaker::Closed, &strict, 2, 1), Breaker::Open);
    }

    #[test]
    fn it_trips_at_the_share_and_not_below() {
        let defaults = BreakerSettings::default();
        assert_eq!(after(Breaker::Closed, &defaults, 9, 4), Breaker::Closed);
        assert_eq!(after(Breaker::Closed, &defaults, 9, 5), Breaker::Open);
        assert_eq!(after(Breaker::Closed, &defaults, 4, 2), Breaker::Open);
    }

    #[test]
    fn it_closes_by_itself_only_after_the_healthy_share_held() {
        let defaults = BreakerSettings::default();
        let open = Breaker::Open;
        assert_eq!(after(open, &defaults, 10, 3), Breaker::Open, "70 % is not enough");
        let recovering = after(open, &defaults, 10, 2);
        assert_eq!(recovering, Breaker::Recovering(NOW));
        assert!(recovering.is_open());
        let later = NOW.plus_millis(RECOVERY_MILLIS);
        let almost = Timestamp(later.0 - 1);
        assert_eq!(recovering.counted(&defaults, census(10, 2), almost), recovering);
        assert_eq!(recovering.counted(&defaults, census(10, 2), later), Breaker::Closed);
        assert_eq!(recovering.counted(&defaults, census(10, 3), later), Breaker::Open);
    }

    #[test]
    fn a_node_that_was_not_heard_from_neither_trips_it_nor_closes_it() {
        let defaults = BreakerSettings::default();
        let unknown = Census { assigned: 10, dead: 0, unheard: 10 };
        assert_eq!(Breaker::Closed.counted(&defaults, unknown, NOW), Breaker::Closed);
        assert_eq!(Breaker::Open.counted(&defaults, unknown, NOW), Breaker::Open);
    }

    #[test]
    fn without_auto_reset_it_waits_for_a_person() {
        let manual = BreakerSettings { auto_reset: false, ..BreakerSettings::default() };
        assert_eq!(after(Breaker::Open, &manual, 10, 0), Breaker::Open);
        assert_eq!(Breaker::Open.reset(&manual, census(10, 0)), Breaker::Closed);
    }

    #[test]
    fn a_person_who_closes_it_accepts_the_dead_there_are() {
        let defaults = BreakerSettings::default();
        let overridden = Breaker::Open.reset(&defaults, census(10, 6));
        assert_eq!(overridden, Breaker::Overridden { accepted: 6 });
        assert!(!overridden.is_open());
        assert_eq!(after(overridden, &defaults, 10, 6), overridden);
        assert_eq!(after(overridden, &defaults, 10, 7), Breaker::Open);
        assert_eq!(after(overridden, &defaults, 10, 2), Breaker::Closed);
    }

    #[test]
    fn settings_that_make_no_sense_are_refused_with_the_numbers() {
        let wrong = BreakerSettings { reset_percent: 50, ..BreakerSettings::default() };
        let said = wrong.check().expect_err("50/50 resets while tripped").to_string();
        assert!(said.contains("must be above 50"), "{said}");
        let zero = BreakerSettings { trip_percent: 0, ..BreakerSettings::default() };
        assert!(zero.check().expect_err("0 %").to_string().contains("tripThresholdPercent is 0"));
        for (trip_percent, reset_percent) in [(50, 80), (30, 75)] {
            let pair = BreakerSettings { trip_percent, reset_percent, ..wrong };
            pair.check().expect("the documented pairs are valid");
        }
    }
}
