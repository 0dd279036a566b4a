//! One client of a load: takes a key, does one operation on it through some node, notes what came
//! of it and passes the key on. Now and then it changes the key that all clients change just then.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::anyhow;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep};

use super::Shape;
use super::contended::{self, Contended};
use super::ledger::{Answer, Change, Key};
use super::reach::{Reach, Said};
use super::seen::Seen;

/// One in so many acknowledged changes of a value is the last of that key, at first. What happens
/// to a key later would hide that a change was lost: the next `set` is answered as if nothing were.
const LAST_ONE_IN: u32 = 4;

/// One in so many operations is on the key that all clients change.
const CONTENDED_ONE_IN: u32 = 10;

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

/// What one client leaves when the load ends.
#[derive(Debug)]
pub(super) struct Left {
    pub(super) seen: Seen,
    pub(super) hand: Hand,
    /// Keys that were laid aside, with the last that was acknowledged of them.
    pub(super) finished: Vec<Key>,
    pub(super) contended: Contended,
}

/// One client.
#[derive(Debug)]
pub(super) struct Worker {
    reach: Reach,
    others: Vec<mpsc::UnboundedSender<Held>>,
    count: watch::Sender<u64>,
    random: StdRng,
    prefix: String,
    number: usize,
    sequence: u64,
    patience: Duration,
    resent_after: Duration,
    rest: Duration,
    kept: usize,
    seen: Seen,
    finished: Vec<Key>,
    last_one_in: u32,
    contended: Contended,
}

impl Worker {
    pub(super) fn new(
        shape: &Shape,
        number: usize,
        others: Vec<mpsc::UnboundedSender<Held>>,
        count: watch::Sender<u64>,
        seen: Seen,
    ) -> Self {
        Self {
            reach: Reach::new(shape),
            others,
            count,
            random: StdRng::seed_from_u64(shape.seed.wrapping_add(number as u64)),
            prefix: shape.prefix.clone(),
            number,
            sequence: 0,
            patience: shape.patience,
            resent_after: shape.resent_after,
            rest: shape.rest,
            kept: shape.kept,
            seen,
            finished: Vec::new(),
            last_one_in: LAST_ONE_IN,
            contended: Contended::default(),
        }
    }

    /// Works until it is told to stop.
    pub(super) async fn work(mut self, mut hand: Hand, mut orders: Orders) -> Left {
        loop {
            let held = tokio::select! {
                biased;
                _ = orders.stopped.wait_for(|stopped| *stopped) => break,
                Ok(()) = orders.avoided.changed() => {
                    self.reach.leave(&orders.avoided.borrow_and_update());
                    // the load that gave the order may not wait for it any more
                    orders.left.send(()).ok();
                    continue;
                }
                held = hand.recv() => held,
            };
            let Some(mut held) = held else { break };
            if self.random.random_ratio(1, CONTENDED_ONE_IN) {
                self.contend().await;
            }
            self.operate(&mut held).await;
            let next = self.random.random_range(0..self.others.len());
            // the receiver is given back to the load, so it outlives all clients
            self.others[next].send(held).ok();
        }
        let Self { seen, finished, contended, .. } = self;
        Left { seen, hand, finished, contended }
    }

    /// One operation on a key that nobody else has.
    async fn operate(&mut self, held: &mut Held) {
        let node = self.reach.pick(&mut self.random);
        let started = Instant::now();
        let Some(change) = self.choose(&held.key) else {
            if let Ok(found) = self.reach.read(node, held.key.name()).await {
                self.seen.read(&held.key, found.as_deref());
                self.done(started);
            }
            return;
        };
        let Some(answer) = self.change(node, held.key.name(), &change).await else {
            held.refused_since.get_or_insert(started);
            return;
        };
        if answer == Answer::Unclear {
            held.refused_since.get_or_insert(started);
        } else if let Some(since) = held.refused_since.take() {
            self.seen.refused(since);
        }
        if held.key.took(&change, answer) {
            self.lay_aside(&mut held.key, answer);
        } else {
            let addr = self.reach.addr(node);
            let text = || format!("{addr}: {change:?} got {answer:?}: {:?}", held.key);
            self.seen.contradicts(held.key.name(), text);
        }
        if answer == Answer::Unclear {
            sleep(self.rest).await;
        }
    }

    /// One change of the key that all clients change just now.
    async fn contend(&mut self) {
        let turn = contended::turn(*self.count.borrow(), self.kept);
        let key = contended::name(&self.prefix, turn);
        let node = self.reach.pick(&mut self.random);
        let change = if contended::is_counter(turn) {
            Change::Increment
        } else if self.random.random_ratio(1, 4) {
            Change::Delete
        } else {
            self.sequence += 1;
            Change::Set(Key::value_of(&key, self.number, self.sequence))
        };
        let began = Instant::now();
        let Some(answer) = self.change(node, &key, &change).await else { return };
        self.contended.took(turn, &change, answer, began);
        match answer {
            Answer::NotFound if change == Change::Increment => self.reach.begin(node, &key).await,
            Answer::Unclear => sleep(self.rest).await,
            _ => {}
        }
    }

    /// Sends a change through a node and notes what a client would; `None` if it was not sent.
    async fn change(&mut self, node: usize, key: &str, change: &Change) -> Option<Answer> {
        let addr = self.reach.addr(node);
        let started = Instant::now();
        if let Err(reason) = self.reach.connected(node).await {
            // nothing was sent, so nothing can have happened
            self.seen.unsent += 1;
            self.seen.last_unclear = Some(format!("{addr}: {reason:#}"));
            return None;
        }
        let mut said = self.reach.change(node, key, change).await;
        // When this program has not run for a while, the answer and the end of the patience are
        // there at once, and a timeout prefers the answer.
        let took = started.elapsed();
        let twice = took > self.resent_after && change.differs_when_repeated();
        if (took > self.patience || twice) && matches!(said, Said::Clear(_)) {
            said = Said::Unclear(anyhow!("answered after {took:?}"));
        }
        Some(match said {
            Said::Clear(answer) => {
                self.seen.acknowledged += 1;
                self.seen.longest_wait = self.seen.longest_wait.max(started.elapsed());
                self.done(started);
                answer
            }
            Said::Unclear(reason) => {
                self.seen.unclear += 1;
                self.seen.answered(started);
                self.seen.last_unclear = Some(format!("{addr}: {change:?}: {reason:#}"));
                Answer::Unclear
            }
            Said::Mistaken(line) => {
                let text = || format!("{addr}: {key}: {change:?} was answered {line:?}");
                self.seen.contradicts(key, text);
                Answer::Unclear
            }
        })
    }

    fn done(&mut self, started: Instant) {
        self.seen.answered(started);
        self.count.send_modify(|count| *count += 1);
    }

    /// Some keys are not changed any more, so that what was acknowledged last is seen in the end;
    /// and those that were refused, since nothing is to be known of them for sure.
    fn lay_aside(&mut self, key: &mut Key, answer: Answer) {
        let clear = answer == Answer::Done && !key.is_counter();
        if !clear || !(key.was_unclear() || self.random.random_ratio(1, self.last_one_in)) {
            return;
        }
        if self.finished.len() >= self.kept {
            let mut keep = false;
            let given_up = self.finished.extract_if(.., |_| {
                keep = !keep;
                !keep
            });
            let unclear = given_up.filter(Key::was_unclear).map(|key| key.name().to_owned());
            self.seen.unclear_and_gone.extend(unclear);
            self.last_one_in *= 2;
        }
        let next = key.successor();
        self.finished.push(std::mem::replace(key, next));
    }

    /// The next change of a key; none for a read. What `add`, `replace` and `incr` answer tells
    /// what was there before, which `set` hides.
    fn choose(&mut self, key: &Key) -> Option<Change> {
        self.sequence += 1;
        let choice = self.random.random_range(0..10);
        let value = Key::value_of(key.name(), self.number, self.sequence);
        Some(match (key.is_counter(), key.is_absent(), choice) {
            (_, _, 0..3) => return None,
            (true, ..) if key.is_hazy() => Change::Set("0".to_owned()),
            (false, ..) if key.is_hazy() => Change::Delete,
            (true, true, _) => Change::Set("0".to_owned()),
            (true, false, _) => Change::Increment,
            (false, true, 3..7) => Change::Add(value),
            (false, false, 3..5) => Change::Delete,
            (false, false, 5..7) => Change::Replace(value),
            (false, _, _) => Change::Set(value),
        })
    }
}
