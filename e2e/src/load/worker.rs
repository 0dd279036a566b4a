//! One client of a load: takes a key, does one operation on it through some node, notes what came
//! of it and passes the key on.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result};
use hdrhistogram::Histogram;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout};

use super::Shape;
use super::ledger::{Answer, Change, Key};
use crate::suite::client::Client;

/// Pause of a client that cannot connect, so that a dead node does not take the processor.
const CONNECT_PAUSE: Duration = Duration::from_millis(50);

/// The longest latency that is told apart, in microseconds.
const LATENCY_MICROS_MAX: u64 = 60_000_000;

/// The most contradictions that are kept.
const CONTRADICTIONS_MAX: usize = 20;

/// A key on its way from client to client.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) key: Key,
    pub(super) refused_since: Option<Instant>,
}

/// The keys that wait for one client.
pub(super) type Hand = mpsc::UnboundedReceiver<Held>;

/// What a client is told while it works.
#[derive(Debug, Clone)]
pub(super) struct Orders {
    pub(super) stopped: watch::Receiver<bool>,
    pub(super) avoided: watch::Receiver<Avoided>,
    /// Says that the last order about them is carried out.
    pub(super) left: mpsc::UnboundedSender<()>,
}

/// Nodes that clients are to open no connection to, from now on.
#[derive(Debug, Default)]
pub(super) struct Avoided {
    pub(super) nodes: BTreeSet<SocketAddr>,
    /// Are the connections that stand used until the nodes end them? Else they are ended.
    pub(super) stay: bool,
}

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
    /// Reads, whatever they found: a slave may lag behind in asynchronous mode.
    pub reads: u64,
    /// Answers that cannot be right after what was acknowledged before.
    pub contradictions: Vec<String>,
    /// The keys that got such answers.
    pub contradicted: BTreeSet<String>,
    /// Time to the answer, in microseconds, of all operations.
    pub latency: Histogram<u64>,
    /// The longest time to the answer of an acknowledged change.
    pub longest_wait: Duration,
    /// The longest time during which a key was refused: from its first refusal to the end of the
    /// next acknowledged change of it.
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
            contradictions: Vec::new(),
            contradicted: BTreeSet::new(),
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
        self.contradictions.extend(other.contradictions);
        self.contradicted.extend(other.contradicted);
        // both have the same bounds, so adding cannot fail
        self.latency.add(other.latency).ok();
        self.longest_wait = self.longest_wait.max(other.longest_wait);
        self.longest_refusal = self.longest_refusal.max(other.longest_refusal);
    }
}

/// One client.
#[derive(Debug)]
pub(super) struct Worker {
    nodes: Vec<(SocketAddr, Option<Client>)>,
    /// The places in `nodes` of those that are not to be avoided.
    used: Vec<usize>,
    /// Of those that are, but whose connection stands and is used until it ends.
    staying: Vec<usize>,
    /// The address that connections come from; any if `None`.
    from: Option<IpAddr>,
    others: Vec<mpsc::UnboundedSender<Held>>,
    count: watch::Sender<u64>,
    random: StdRng,
    number: usize,
    sequence: u64,
    patience: Duration,
    rest: Duration,
}

impl Worker {
    pub(super) fn new(
        shape: &Shape,
        number: usize,
        others: Vec<mpsc::UnboundedSender<Held>>,
        count: watch::Sender<u64>,
    ) -> Self {
        let random = StdRng::seed_from_u64(shape.seed.wrapping_add(number as u64));
        let nodes: Vec<_> = shape.nodes.iter().map(|addr| (*addr, None)).collect();
        let used = (0..shape.nodes.len()).collect();
        let Shape { patience, rest, from, .. } = *shape;
        let staying = Vec::new();
        let sequence = 0;
        Self { nodes, used, staying, from, others, count, random, number, sequence, patience, rest }
    }

    /// Works until it is told to stop; gives back the keys that still wait.
    pub(super) async fn work(mut self, mut hand: Hand, mut orders: Orders) -> (Seen, Hand) {
        let mut seen = Seen::new().expect("the bounds of the histogram are constants");
        loop {
            let held = tokio::select! {
                biased;
                _ = orders.stopped.wait_for(|stopped| *stopped) => break,
                Ok(()) = orders.avoided.changed() => {
                    self.leave(&orders.avoided.borrow_and_update());
                    // the load that gave the order may not wait for it any more
                    orders.left.send(()).ok();
                    continue;
                }
                held = hand.recv() => held,
            };
            let Some(mut held) = held else { break };
            let unclear = seen.unclear;
            self.operate(&mut held, &mut seen).await;
            if seen.unclear > unclear {
                sleep(self.rest).await;
            }
            let next = self.random.random_range(0..self.others.len());
            // the receiver is given back to the load, so it outlives all clients
            self.others[next].send(held).ok();
            self.count.send_modify(|count| *count += 1);
        }
        (seen, hand)
    }

    /// Opens no connection to these nodes any more. On none of those that stand an answer is
    /// awaited now, so that they can be ended without a loss.
    fn leave(&mut self, avoided: &Avoided) {
        let is_avoided = |at: &usize| avoided.nodes.contains(&self.nodes[*at].0);
        (self.staying, self.used) = (0..self.nodes.len()).partition(is_avoided);
        if !avoided.stay {
            for at in std::mem::take(&mut self.staying) {
                self.nodes[at].1 = None;
            }
        }
    }

    /// The node for the next operation: any that is not avoided, or to which a connection stands.
    fn pick(&mut self) -> usize {
        let nodes = &self.nodes;
        self.staying.retain(|at| nodes[*at].1.as_ref().is_some_and(|client| !client.has_ended()));
        let at = self.random.random_range(0..self.used.len() + self.staying.len());
        self.used.iter().chain(&self.staying).nth(at).copied().unwrap_or_default()
    }

    async fn operate(&mut self, held: &mut Held, seen: &mut Seen) {
        let node = self.pick();
        let change = self.choose(&held.key);
        let started = Instant::now();
        let Some(change) = change else {
            // what it finds may be a moment old; that it can be asked is what counts
            if self.read(node, held.key.name()).await.is_ok() {
                seen.reads += 1;
                note_latency(seen, started);
            }
            return;
        };
        if let Err(reason) = self.client(node).await {
            // nothing was sent, so nothing can have happened
            seen.unsent += 1;
            seen.last_unclear = Some(format!("{}: {reason:#}", self.nodes[node].0));
            held.refused_since.get_or_insert(started);
            return;
        }
        let answered = self.change(node, held.key.name(), &change).await;
        note_latency(seen, started);
        // When this program has not run for a while, the answer and the end of the patience are
        // there at once, and a timeout prefers the answer.
        let late = started.elapsed() > self.patience;
        let answered = match answered {
            Ok(_) if late => Err(anyhow::anyhow!("answered after {:?}", started.elapsed())),
            answered => answered,
        };
        let answer = match answered {
            Ok(answer) => {
                seen.acknowledged += 1;
                seen.longest_wait = seen.longest_wait.max(started.elapsed());
                if let Some(since) = held.refused_since.take() {
                    seen.longest_refusal = seen.longest_refusal.max(since.elapsed());
                }
                answer
            }
            Err(reason) => {
                seen.unclear += 1;
                let addr = self.nodes[node].0;
                seen.last_unclear = Some(format!("{addr}: {change:?}: {reason:#}"));
                held.refused_since.get_or_insert(started);
                Answer::Unclear
            }
        };
        if !held.key.took(&change, answer) {
            let addr = self.nodes[node].0;
            if seen.contradictions.len() < CONTRADICTIONS_MAX {
                let text = format!("{addr}: {change:?} got {answer:?}: {:?}", held.key);
                seen.contradictions.push(text);
            }
            seen.contradicted.insert(held.key.name().to_owned());
        }
    }

    /// The next change of a key; none for a read.
    fn choose(&mut self, key: &Key) -> Option<Change> {
        self.sequence += 1;
        let choice = self.random.random_range(0..10);
        match (key.is_counter(), choice) {
            (_, 0..3) => None,
            (true, _) if key.is_absent() => Some(Change::Set("0".to_owned())),
            (true, _) => Some(Change::Increment),
            (false, 3..5) if !key.is_absent() => Some(Change::Delete),
            (false, _) => Some(Change::Set(format!("{}-{}", self.number, self.sequence))),
        }
    }

    async fn read(&mut self, node: usize, key: &str) -> Result<()> {
        let found = self.client(node).await?.get(key).await;
        if found.is_err() {
            self.nodes[node].1 = None;
        }
        found.map(drop)
    }

    async fn change(&mut self, node: usize, key: &str, change: &Change) -> Result<Answer> {
        let client = self.client(node).await?;
        let answer = match change {
            Change::Set(value) => client.set(key, value).await,
            Change::Delete => client.delete(key).await,
            Change::Increment => client.command(&format!("incr {key} 1")).await,
        };
        match answer.as_deref() {
            Ok("STORED" | "DELETED") => Ok(Answer::Done),
            Ok("NOT_FOUND") => Ok(Answer::NotFound),
            Ok(number) if number.bytes().all(|b| b.is_ascii_digit()) => Ok(Answer::Done),
            Ok(other) => Err(anyhow::anyhow!("{other}")),
            Err(_) => {
                // an answer may still come: it must not be taken for the next one's
                self.nodes[node].1 = None;
                answer.map(|_| Answer::Unclear)
            }
        }
    }

    async fn client(&mut self, node: usize) -> Result<&mut Client> {
        let (addr, client) = &mut self.nodes[node];
        if client.is_none() {
            let connecting = async {
                match self.from {
                    Some(from) => Client::connect_from(from, *addr).await,
                    None => Client::connect(*addr).await,
                }
            };
            match timeout(self.patience, connecting).await {
                Ok(Ok(new)) => *client = Some(new.answer_within(self.patience)),
                Ok(Err(reason)) => {
                    sleep(CONNECT_PAUSE).await;
                    return Err(reason);
                }
                Err(late) => return Err(late).context("no connection in time"),
            }
        }
        client.as_mut().context("it was connected a line above")
    }
}

fn note_latency(seen: &mut Seen, started: Instant) {
    let micros = u64::try_from(started.elapsed().as_micros()).unwrap_or(LATENCY_MICROS_MAX);
    seen.latency.saturating_record(micros.min(LATENCY_MICROS_MAX));
}
