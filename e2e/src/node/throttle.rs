//! The pace of a dump: a pause per entry, and a limit of bytes per second.

use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

/// Paces one dump.
#[derive(Debug)]
pub(crate) struct Throttle {
    pause: Duration,
    /// Bytes per second; 0 is no limit.
    limit: u64,
    started: Instant,
    sent: u64,
}

impl Throttle {
    /// `wait` in microseconds, `bwlimit` in KiB/s, 0 for none of either.
    pub(crate) fn new(wait_micros: u64, bwlimit: u64) -> Self {
        Self {
            pause: Duration::from_micros(wait_micros),
            limit: bwlimit.saturating_mul(1024),
            started: Instant::now(),
            sent: 0,
        }
    }

    /// Waits as long as is due after so many bytes.
    pub(crate) async fn after(&mut self, bytes: usize) {
        if !self.pause.is_zero() {
            sleep(self.pause).await;
        }
        self.sent += bytes as u64;
        if let Some(due) = self.sent.saturating_mul(1000).checked_div(self.limit) {
            let due = Duration::from_millis(due);
            sleep_until(self.started + due).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn pauses_add_up_and_bytes_keep_to_the_limit() {
        let start = Instant::now();
        let mut throttle = Throttle::new(2000, 0);
        throttle.after(1).await;
        throttle.after(1).await;
        assert_eq!(start.elapsed(), Duration::from_millis(4));
        let start = Instant::now();
        let mut throttle = Throttle::new(0, 1);
        for _ in 0..4 {
            throttle.after(512).await;
        }
        assert_eq!(start.elapsed(), Duration::from_secs(2));
    }
}
