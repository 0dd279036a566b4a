//! Sums rounds up into one line of a table.

use std::fmt::Write as _;
use std::time::Duration;

use crate::swap::Round;

/// The sums of all rounds.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    operations: u64,
    wrong_swaps: usize,
    wrong_keys: usize,
    refused: u64,
    not_done: usize,
    unequal: usize,
    in_one_copy: usize,
    reads_missed: u64,
    longest_refusals: Vec<Duration>,
    longest_waits: Vec<Duration>,
    took: Vec<Duration>,
    quiet_waits: Vec<Duration>,
    quiet_unequal: usize,
    quiet_in_one_copy: usize,
    quiet_missed: u64,
}

impl Figures {
    /// Adds a round without a swap.
    pub(crate) fn quiet(&mut self, round: &Round) {
        self.quiet_waits.push(round.longest_wait);
        self.quiet_unequal += usize::from(round.differs.is_some());
        self.quiet_in_one_copy += round.in_one_copy.len();
        self.quiet_missed += round.reads_missed;
    }

    /// Adds a round with a swap.
    pub(crate) fn swap(&mut self, round: &Round) {
        self.operations += round.operations;
        self.wrong_swaps += usize::from(!round.wrong.is_empty());
        self.wrong_keys += round.wrong.len();
        self.refused += round.refused;
        self.not_done += usize::from(round.not_done.is_some());
        self.unequal += usize::from(round.differs.is_some());
        self.in_one_copy += round.in_one_copy.len();
        self.reads_missed += round.reads_missed;
        self.longest_refusals.push(round.longest_refusal);
        self.longest_waits.push(round.longest_wait);
        self.took.push(round.took);
    }

    /// Was anything not as it should be?
    pub(crate) fn is_troubled(&self) -> bool {
        self.wrong_keys > 0 || self.unequal + self.quiet_unequal > 0 || self.not_done > 0
    }

    /// A table of one line.
    pub(crate) fn markdown(&self, variant: &str) -> String {
        let swaps = self.took.len();
        let rounds = self.quiet_waits.len();
        let mut text = String::from(
            "| variant | swaps | operations | swaps with wrong keys (keys) | copies equal (keys \
             set and deleted by several clients that not all have) | reads missed | refusals | \
             longest refused write, p50 / p99 / max | longest wait of a write, p50 / p99 / max | \
             order to answer, p50 / p99 / max | taken back | without a swap: rounds, copies equal \
             (such keys), reads missed, longest wait of a write, p50 / max |\n\
             |---|---|---|---|---|---|---|---|---|---|---|---|\n",
        );
        let quiet = spread(&self.quiet_waits);
        writeln!(
            text,
            "| {variant} | {swaps} | {} | {} ({}) | {} of {swaps} ({}) | {} | {} | {} | {} | {} | \
             {} | {rounds}, {} ({}), {}, {} / {} ms |",
            self.operations,
            self.wrong_swaps,
            self.wrong_keys,
            swaps - self.unequal,
            self.in_one_copy,
            self.reads_missed,
            self.refused,
            show(&self.longest_refusals),
            show(&self.longest_waits),
            show(&self.took),
            self.not_done,
            rounds - self.quiet_unequal,
            self.quiet_in_one_copy,
            self.quiet_missed,
            millis(quiet.0),
            millis(quiet.2),
        )
        .expect("writing to a string cannot fail");
        text
    }
}

/// Median, 99th percentile (nearest rank) and maximum.
fn spread(times: &[Duration]) -> (Duration, Duration, Duration) {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let rank = |percent: usize| {
        let at = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
        sorted.get(at).copied().unwrap_or_default()
    };
    (rank(50), rank(99), rank(100))
}

fn show(times: &[Duration]) -> String {
    let (median, most, longest) = spread(times);
    format!("{} / {} / {} ms", millis(median), millis(most), millis(longest))
}

fn millis(time: Duration) -> String {
    format!("{:.0}", time.as_secs_f64() * 1000.0)
}
