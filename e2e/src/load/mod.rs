//! Load on a cluster: many clients, through any nodes, on the *same* keys. Afterwards every node
//! must answer with what was acknowledged last.
//!
//! A key passes from client to client; whoever holds it does one operation. So successive
//! operations on one key come through different nodes, and yet have an order. Clients with keys of
//! their own would hide what happens when writes cross. Some keys are laid aside all the time,
//! since later operations would hide what was lost; and some are changed by all clients at once.

mod args;
pub(crate) mod contended;
pub mod ledger;
mod reach;
mod seen;
#[cfg(test)]
mod tests;
mod worker;

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::suite::client::Client;

pub use args::LoadArgs;
use contended::Contended;
use ledger::{Key, Wrong};
pub use seen::Seen;
use worker::{Avoided, Held, Left, Orders, Worker};

/// How long a client waits for an answer, unless told otherwise. Above the 16 s for which two
/// masters of one partition can stall a synchronous write (flare-protocol.md 12).
pub const PATIENCE: Duration = Duration::from_secs(30);

/// [`Shape::resent_after`] where a master dies or hangs.
pub const RESENT_AFTER: Duration = Duration::from_millis(400);

/// How many keys are laid aside, unless told otherwise: see [`Shape::kept`].
pub const KEPT: usize = 4_096;

/// How many keys are asked for at once when all are read.
const ASKED_AT_ONCE: usize = 100;

/// How many wrong keys an error message lists.
const SHOWN: usize = 5;

/// What kind of load.
#[derive(Debug, Clone)]
pub struct Shape {
    /// The nodes; each client connects to all of them.
    pub nodes: Vec<SocketAddr>,
    /// Clients at work at the same time.
    pub clients: usize,
    /// Keys that are set, read and deleted.
    pub values: usize,
    /// Keys that are counted.
    pub counters: usize,
    /// The most keys that one client lays aside, so that nobody changes them any more: then every
    /// second one is given up, and keys are laid aside half as often. So the keys that nodes hold
    /// grow with the logarithm of the load, not with how fast the machine is.
    pub kept: usize,
    /// Begins the name of each key.
    pub prefix: String,
    /// Makes a run's choices repeatable.
    pub seed: u64,
    /// How long a client waits for an answer before it counts as unclear.
    pub patience: Duration,
    /// A node that loses the connection to a master sends a request again, half a second later at
    /// the earliest (flare-protocol.md 5.4): what is answered after this may have been carried out
    /// twice.
    pub resent_after: Duration,
    /// How long a client rests after an unclear answer.
    pub rest: Duration,
    /// The address of this machine that clients come from: one that no node has lets the index
    /// tell them from nodes. `None` leaves it to the system.
    pub from: Option<IpAddr>,
}

/// What came of a load.
#[derive(Debug)]
pub struct Outcome {
    /// The keys, with what is known of them.
    pub keys: Vec<Key>,
    /// What the clients saw.
    pub seen: Seen,
}

/// A load that is going on.
#[derive(Debug)]
pub struct Load {
    stop: watch::Sender<bool>,
    avoided: watch::Sender<Avoided>,
    left: mpsc::UnboundedReceiver<()>,
    nodes: BTreeSet<SocketAddr>,
    done: watch::Receiver<u64>,
    prefix: String,
    clients: Vec<JoinHandle<Left>>,
}

impl Load {
    /// Starts the clients.
    ///
    /// # Errors
    /// A shape without nodes or clients, or with fewer keys than clients.
    pub fn start(shape: &Shape) -> Result<Self> {
        let keys = shape.values + shape.counters;
        ensure!(!shape.nodes.is_empty() && shape.clients > 0, "a load needs nodes and clients");
        ensure!(keys >= shape.clients, "fewer keys ({keys}) than clients: some would be idle");
        let (stop, stopped) = watch::channel(false);
        let (avoided, avoid) = watch::channel(Avoided::default());
        let (leave, left) = mpsc::unbounded_channel();
        let orders = Orders { stopped, avoided: avoid, left: leave };
        let (count, done) = watch::channel(0);
        let (others, hands): (Vec<_>, Vec<_>) =
            (0..shape.clients).map(|_| mpsc::unbounded_channel()).unzip();
        let prefix = &shape.prefix;
        let values = (0..shape.values).map(|i| Key::value(format!("{prefix}v{i}")));
        let counters = (0..shape.counters).map(|i| Key::counter(format!("{prefix}c{i}")));
        for (i, key) in values.chain(counters).enumerate() {
            let held = Held { key, refused_since: None };
            others[i % shape.clients].send(held).context("its receiver is a few lines above")?;
        }
        let mut clients = Vec::new();
        for (number, hand) in hands.into_iter().enumerate() {
            let worker = Worker::new(shape, number, others.clone(), count.clone(), Seen::new()?);
            clients.push(tokio::spawn(worker.work(hand, orders.clone())));
        }
        let nodes = shape.nodes.iter().copied().collect();
        Ok(Self { stop, avoided, left, nodes, done, prefix: prefix.clone(), clients })
    }

    /// Leads the clients away from these nodes, and back to all others: returns when no client
    /// has a connection to one of them.
    ///
    /// # Errors
    /// No node is left, or a client does not let go within a minute.
    pub async fn avoid(&mut self, nodes: BTreeSet<SocketAddr>) -> Result<()> {
        self.lead_away(Avoided { nodes, stay: false }).await
    }

    /// Leads the clients away from these nodes as a load balancer does that leaves standing
    /// connections alone: they open no connection to one of them any more, and use those that
    /// they have until the node ends them. Returns when all clients know.
    ///
    /// # Errors
    /// As [`Load::avoid`].
    pub async fn open_no_more(&mut self, nodes: BTreeSet<SocketAddr>) -> Result<()> {
        self.lead_away(Avoided { nodes, stay: true }).await
    }

    async fn lead_away(&mut self, avoided: Avoided) -> Result<()> {
        let left = !self.nodes.is_subset(&avoided.nodes);
        ensure!(left, "no node would be left for the clients");
        self.avoided.send_replace(avoided);
        let all = async {
            for _ in 0..self.clients.len() {
                self.left.recv().await.context("the load ended")?;
            }
            Ok(())
        };
        timeout(Duration::from_secs(60), all).await.context("a client does not let go")?
    }

    /// Waits until `operations` more were answered, other than with an error.
    ///
    /// # Errors
    /// The load stands still for a minute.
    pub async fn flows(&mut self, operations: u64) -> Result<()> {
        let goal = *self.done.borrow() + operations;
        let reached = self.done.wait_for(|done| *done >= goal);
        let reached = timeout(Duration::from_secs(60), reached).await;
        reached.context("the load stands still")?.context("the load ended")?;
        Ok(())
    }

    /// Ends the load and sums up.
    ///
    /// # Errors
    /// A client panicked.
    pub async fn stop(self) -> Result<Outcome> {
        self.stop.send_replace(true);
        let mut outcome = Outcome { keys: Vec::new(), seen: Seen::new()? };
        let mut hands = Vec::new();
        let mut contended = Contended::default();
        for client in self.clients {
            let left = client.await.context("a client broke")?;
            outcome.seen.add(left.seen);
            outcome.keys.extend(left.finished);
            contended.add(left.contended);
            hands.push(left.hand);
        }
        outcome.keys.extend(contended.keys(&self.prefix));
        // nobody passes keys on any more: each is in one hand
        for mut hand in hands {
            while let Ok(held) = hand.try_recv() {
                if let Some(since) = held.refused_since {
                    outcome.seen.refused(since);
                }
                outcome.keys.push(held.key);
            }
        }
        outcome.keys.sort_by(|a, b| a.name().cmp(b.name()));
        Ok(outcome)
    }
}

impl Outcome {
    /// Reads every key through a node.
    ///
    /// # Errors
    /// Lists what is missing, old, or deleted and back.
    pub async fn check(&self, node: SocketAddr) -> Result<()> {
        let wrong = self.wrong(node).await?;
        let shown = wrong.iter().take(SHOWN).map(|(key, found, _)| key.check(found.as_deref()));
        let shown = shown.flatten().collect::<Vec<_>>().join("\n");
        ensure!(wrong.is_empty(), "{} keys are wrong at {node}:\n{shown}", wrong.len());
        Ok(())
    }

    /// The keys that a node does not answer as was acknowledged, with what it answered.
    ///
    /// # Errors
    /// The node does not answer at all.
    pub async fn wrong(&self, node: SocketAddr) -> Result<Vec<(&Key, Option<String>, Wrong)>> {
        let mut client = Client::connect(node).await?;
        let mut all = Vec::new();
        for keys in self.keys.chunks(ASKED_AT_ONCE) {
            let names: Vec<&str> = keys.iter().map(Key::name).collect();
            for (key, found) in keys.iter().zip(client.get_each(&names).await?) {
                if let Some(wrong) = key.wrong(found.as_deref()) {
                    all.push((key, found, wrong));
                }
            }
        }
        Ok(all)
    }

    /// Leaves out the keys of which some operation had no clear answer, and tells how many were
    /// left out.
    ///
    /// A node that hangs, or cannot be reached, may carry out what it was sent when it is back,
    /// long after its client has gone, and over what was acknowledged since: that is flared's way
    /// (flare-protocol.md 5.4), and no index can prevent it.
    pub fn forget_unclear(&mut self) -> usize {
        let (unclear, clear): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.keys).into_iter().partition(Key::was_unclear);
        self.keys = clear;
        let gone = self.seen.unclear_and_gone.iter().map(String::as_str);
        for name in unclear.iter().map(Key::name).chain(gone) {
            self.seen.contradicted.remove(name);
        }
        unclear.len()
    }

    /// Leaves out the counters that several clients counted at the same time.
    pub fn forget_contended_counters(&mut self) {
        self.keys.retain(|key| !(key.is_contended() && key.is_counter()));
    }

    /// An error if an answer contradicted what had been acknowledged.
    pub fn require_consistent(&self) -> Result<()> {
        let contradictions = &self.seen.contradictions;
        let contradicted = &self.seen.contradicted;
        ensure!(contradicted.is_empty(), "{contradicted:?} are contradicted: {contradictions:#?}");
        Ok(())
    }
}
