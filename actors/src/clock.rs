//! The clock that actors are handed: the core's [`Timestamp`], and the Unix time that people and
//! `stats` see.
//!
//! Both come from tokio's clock, so that a test that pauses tokio's time has paused the whole
//! index. Unix time is read once from the system when the clock is made, and again on
//! each question unless the clock is simulated: a stepped system clock shows in `stats`, never in
//! a deadline.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use flare_core::model::Timestamp;
use tokio::time::Instant;

/// Tells the time; cheap to copy. All copies agree.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    zero: Instant,
    unix: UnixTime,
}

#[derive(Debug, Clone, Copy)]
enum UnixTime {
    System,
    /// Unix milliseconds at `zero`.
    Simulated(u64),
}

impl Clock {
    /// A clock whose zero is now and whose Unix time is the system's.
    pub fn system() -> Self {
        Self { zero: Instant::now(), unix: UnixTime::System }
    }

    /// A clock whose Unix time begins at `unix_millis` and goes on with tokio's time.
    pub fn simulated(unix_millis: u64) -> Self {
        Self { zero: Instant::now(), unix: UnixTime::Simulated(unix_millis) }
    }

    /// Milliseconds since the clock was made; only goes forward.
    pub fn now(&self) -> Timestamp {
        Timestamp(millis(self.zero.elapsed()))
    }

    /// The moment on tokio's clock that `at` names.
    pub fn instant(&self, at: Timestamp) -> Instant {
        self.zero + Duration::from_millis(at.0)
    }

    /// Milliseconds since 1970.
    pub fn unix_millis(&self) -> u64 {
        match self.unix {
            // A clock before 1970 is a broken one; 0 then, since nothing is decided by it.
            UnixTime::System => SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, millis),
            UnixTime::Simulated(at_zero) => at_zero + self.now().0,
        }
    }

    /// Seconds since 1970.
    pub fn unix_seconds(&self) -> u64 {
        self.unix_millis() / 1000
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn follows_the_paused_time_of_tokio() {
        let clock = Clock::simulated(1_000_000);
        tokio::time::advance(Duration::from_millis(1_500)).await;
        assert_eq!(clock.now(), Timestamp(1_500));
        assert_eq!(clock.unix_seconds(), 1_001);
        assert_eq!(clock.instant(Timestamp(1_500)), Instant::now());
    }
}
