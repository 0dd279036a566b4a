//! What the clients of a load saw, counted.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result};
use hdrhistogram::Histogram;
use tokio::time::Instant;

use super::ledger::Key;

/// The longest latency that is told apart, in microseconds.
const LATENCY_MICROS_MAX: u64 = 60_000_000;

/// The most contradictions that are kept as text.
const CONTRADICTIONS_MAX: usize = 20;

/// What clients saw.
#[derive(Debug)]
pub struct Seen {
    /// Changes that were carried out, or found nothing to do.
    pub acknowledged: u64,
    /// Changes that were answered with an error or not at all.
    pub unclear: u64,
    /// Changes that could not be sent: no connection to the node.
    pub unsent: u64,
    /// The last unclear answer, or the last reason why a change was not sent.
    pub last_unclear: Option<String>,
    /// Reads that were answered.
    pub reads: u64,
    /// Those of them that found nothing though the key was there: a slave that lags behind in
    /// asynchronous mode, or a node that was just making its connections.
    pub reads_missed: u64,
    /// Those of them that found a value that the key had before, or had lost.
    pub reads_old: u64,
    /// Answers that cannot be right after what was acknowledged before.
    pub contradictions: Vec<String>,
    /// The keys that got such answers.
    pub contradicted: BTreeSet<String>,
    /// Keys that were given up, and of which some operation had no clear answer.
    pub unclear_and_gone: BTreeSet<String>,
    /// Time to the answer, in microseconds, of all operations.
    pub latency: Histogram<u64>,
    /// The longest time to the answer of an acknowledged change.
    pub longest_wait: Duration,
    /// The longest time during which a key was refused: from its first refusal to the end of the
    /// next acknowledged change of it, or of the load.
    pub longest_refusal: Duration,
}

impl Seen {
    /// Nothing yet.
    pub(super) fn new() -> Result<Self> {
        Ok(Self {
            acknowledged: 0,
            unclear: 0,
            unsent: 0,
            last_unclear: None,
            reads: 0,
            reads_missed: 0,
            reads_old: 0,
            contradictions: Vec::new(),
            contradicted: BTreeSet::new(),
            unclear_and_gone: BTreeSet::new(),
            latency: Histogram::new_with_max(LATENCY_MICROS_MAX, 3)
                .context("the bounds of the histogram")?,
            longest_wait: Duration::ZERO,
            longest_refusal: Duration::ZERO,
        })
    }

    /// Adds what another client saw.
    pub(super) fn add(&mut self, other: Self) {
        self.acknowledged += other.acknowledged;
        self.unclear += other.unclear;
        self.unsent += other.unsent;
        self.last_unclear = other.last_unclear.or(self.last_unclear.take());
        self.reads += other.reads;
        self.reads_missed += other.reads_missed;
        self.reads_old += other.reads_old;
        self.contradictions.extend(other.contradictions);
        self.contradicted.extend(other.contradicted);
        self.unclear_and_gone.extend(other.unclear_and_gone);
        // both have the same bounds, so adding cannot fail
        self.latency.add(other.latency).ok();
        self.longest_wait = self.longest_wait.max(other.longest_wait);
        self.longest_refusal = self.longest_refusal.max(other.longest_refusal);
    }

    /// An operation that began then has its answer.
    pub(super) fn answered(&mut self, started: Instant) {
        let micros = u64::try_from(started.elapsed().as_micros()).unwrap_or(LATENCY_MICROS_MAX);
        self.latency.saturating_record(micros.min(LATENCY_MICROS_MAX));
    }

    /// A key has been refused since then, up to now.
    pub(super) fn refused(&mut self, since: Instant) {
        self.longest_refusal = self.longest_refusal.max(since.elapsed());
    }

    /// An answer about a key that contradicts what had been acknowledged.
    pub(super) fn contradicts(&mut self, key: &str, text: impl FnOnce() -> String) {
        if self.contradictions.len() < CONTRADICTIONS_MAX {
            self.contradictions.push(text());
        }
        self.contradicted.insert(key.to_owned());
    }

    /// A read found this, which only in asynchronous mode may be other than what is known.
    pub(super) fn read(&mut self, key: &Key, found: Option<&str>) {
        self.reads += 1;
        match (key.wrong(found), found) {
            (None, _) => {}
            (Some(_), None) => self.reads_missed += 1,
            (Some(_), Some(value)) if key.has_had(value) => self.reads_old += 1,
            (Some(_), Some(value)) => {
                self.contradicts(key.name(), || format!("a read found {value:?}: {key:?}"));
            }
        }
    }
}
