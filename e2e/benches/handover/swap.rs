//! The cluster under measurement, and one round: load, a swap, load, and a look at everything.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use flare_e2e::load::ledger::Wrong;
use flare_e2e::load::{self, Load, Outcome, Shape};
use flare_e2e::suite::cluster::Cluster;
use flare_e2e::suite::context::Context;
use flare_e2e::suite::eventually;
use flare_e2e::suite::index::Manifest;

/// Two, so that the swapped partition has a neighbour whose keys must not suffer.
const PARTITIONS: u32 = 2;

/// How long copies may take to become equal, and keys to be right everywhere: asynchronous
/// queues drain in milliseconds.
const SETTLE_WITHIN: Duration = Duration::from_secs(5);

/// Where clients come from that the index is to tell from nodes, which it does by the address.
const ELSEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 9));

/// What kind of swap.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Variant {
    /// Nodes with replication-type = sync
    #[arg(long)]
    sync: bool,
    /// Refuse writes meanwhile instead of holding them
    #[arg(long)]
    pause: bool,
    /// Leave clients connected to the old master
    #[arg(long)]
    clients_at_old_master: bool,
    /// Lead the clients away from the old master: they open no connection to it any more, and the
    /// index ends those that stand (`endClients`)
    #[arg(long, conflicts_with = "clients_at_old_master")]
    lead_away: bool,
    /// Copies of each partition, the master included
    #[arg(long, default_value_t = 2)]
    copies: u32,
    /// The old master hangs (SIGSTOP) from just before the swap for so many seconds
    #[arg(long, default_value_t = 0)]
    silent_seconds: u64,
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.pause { "pause" } else { "park" })?;
        f.write_str(if self.sync { ", sync" } else { ", async" })?;
        if self.copies != 2 {
            write!(f, ", {} copies", self.copies)?;
        }
        if self.clients_at_old_master {
            f.write_str(", clients at the old master")?;
        }
        if self.lead_away {
            f.write_str(", clients led away from the old master")?;
        }
        if self.silent_seconds > 0 {
            write!(f, ", old master silent for {} s", self.silent_seconds)?;
        }
        Ok(())
    }
}

/// What one round showed.
#[derive(Debug, Default)]
pub(crate) struct Round {
    /// Changes and reads.
    pub(crate) operations: u64,
    /// Changes answered with an error, or not at all.
    pub(crate) refused: u64,
    /// The longest time for which a key was refused.
    pub(crate) longest_refusal: Duration,
    /// The longest time to the answer of an acknowledged change.
    pub(crate) longest_wait: Duration,
    /// From the order to the index' answer.
    pub(crate) took: Duration,
    /// Keys that some node did not answer as was acknowledged, or contradicted.
    pub(crate) wrong: BTreeMap<String, String>,
    /// Reads that found nothing though the key was there. In asynchronous mode slaves lag behind.
    pub(crate) reads_missed: u64,
    /// What the copies of the partition held differently afterwards, of this round's keys.
    pub(crate) differs: Option<String>,
    /// The keys that several clients set and deleted at once, and that not all copies have.
    pub(crate) in_one_copy: Vec<String>,
    /// What the index answered, if not that the swap is done.
    pub(crate) not_done: Option<String>,
    /// The last refusal.
    pub(crate) last_refusal: Option<String>,
    /// The masters before and after.
    pub(crate) masters: (String, String),
}

impl Round {
    /// Says on standard error what a reader of the table would ask about.
    pub(crate) fn tell(&self, round: &str) {
        if let Some(reason) = &self.not_done {
            eprintln!("{round} was not done: {reason}");
        }
        if let Some(refusal) = &self.last_refusal {
            let (old, new) = &self.masters;
            eprintln!("{round} of {old} to {new}: {} refused, last: {refusal}", self.refused);
        }
        for (key, wrong) in &self.wrong {
            eprintln!("{round}: {key}: {wrong}");
        }
        if let Some(differs) = &self.differs {
            eprintln!("{round}: the copies differ: {differs}");
        }
        for key in &self.in_one_copy {
            eprintln!("{round}: several clients set and deleted {key}");
        }
    }
}

/// A cluster and what is done to it.
pub(crate) struct Course {
    cluster: Cluster,
    variant: Variant,
    operations: u64,
    clients: usize,
    seed: u64,
}

impl Course {
    /// Starts index and nodes: two partitions, and one node that holds none.
    pub(crate) async fn start(
        ctx: &Context,
        variant: Variant,
        operations: u64,
        clients: usize,
        seed: u64,
    ) -> Result<Self> {
        let manifest = Manifest::shape(PARTITIONS, variant.copies);
        let count = usize::try_from(PARTITIONS * variant.copies + 1)?;
        let replication = if variant.sync { "sync" } else { "async" };
        let settings = [("replication-type", replication)];
        let cluster = Cluster::auto_with(ctx, manifest, count, &settings).await?;
        Ok(Self { cluster, variant, operations, clients, seed })
    }

    /// Load, a swap (or none), load; then every key is read at every node.
    pub(crate) async fn round(&mut self, prefix: &str, swap: bool) -> Result<Round> {
        let old = self.cluster.master(0).await?;
        let nodes: Vec<SocketAddr> = self.cluster.running().map(|node| node.addr()).collect();
        let mut load = Load::start(&Shape {
            nodes: nodes.clone(),
            clients: self.clients,
            values: 50,
            counters: 10,
            kept: load::KEPT,
            prefix: prefix.to_owned(),
            seed: self.seed,
            patience: load::PATIENCE,
            resent_after: load::PATIENCE,
            rest: Duration::ZERO,
            from: self.variant.lead_away.then_some(ELSEWHERE),
        })?;
        self.seed = self.seed.wrapping_add(self.clients as u64);
        let old_master = BTreeSet::from([self.cluster.node(&old)?.addr()]);
        if !self.variant.clients_at_old_master && !self.variant.lead_away {
            load.avoid(old_master.clone()).await?;
        }
        load.flows(self.operations).await?;
        let mut round = Round::default();
        if swap {
            if self.variant.lead_away {
                load.open_no_more(old_master).await?;
            }
            self.swap(&old, &mut round).await?;
        }
        load.flows(self.operations).await?;
        let outcome = load.stop().await?;
        self.cluster.takes_shape(PARTITIONS, self.variant.copies).await?;
        round.add(&outcome);
        for node in nodes {
            find_wrong(&outcome, node, &mut round.wrong).await?;
        }
        let partitions = i32::try_from(PARTITIONS)?;
        match self.cluster.copies_have_equal(0, partitions, prefix, SETTLE_WITHIN).await {
            Ok(keys) => round.in_one_copy = keys,
            Err(error) => round.differs = Some(format!("{error:#}")),
        }
        let new = self.cluster.master(0).await?;
        let moved = new != old;
        round.masters = (old.clone(), new.clone());
        ensure!(
            moved == (swap && round.not_done.is_none()) || self.variant.silent_seconds > 0,
            "{old} was the master, {new} is; the index answered {:?}",
            round.not_done
        );
        Ok(round)
    }

    async fn swap(&self, old: &str, round: &mut Round) -> Result<()> {
        let Variant { pause, lead_away, .. } = self.variant;
        let body = format!(r#"{{"pause":{pause},"endClients":{lead_away}}}"#);
        let silence = Duration::from_secs(self.variant.silent_seconds);
        let started = Instant::now();
        let silent = async {
            if !silence.is_zero() {
                self.cluster.node(old)?.freeze()?;
                tokio::time::sleep(silence).await;
                self.cluster.node(old)?.thaw()?;
            }
            anyhow::Ok(())
        };
        let order = async {
            let answer = self.cluster.index.switchover(0, &body).await?;
            anyhow::Ok((answer, started.elapsed()))
        };
        let (((status, text), took), ()) = tokio::try_join!(order, silent)?;
        round.took = took;
        round.not_done = (status != 200).then_some(text);
        Ok(())
    }
}

impl Round {
    fn add(&mut self, outcome: &Outcome) {
        let seen = &outcome.seen;
        self.operations = seen.acknowledged + seen.unclear + seen.reads;
        self.refused = seen.unclear;
        self.longest_refusal = seen.longest_refusal;
        self.longest_wait = seen.longest_wait;
        self.reads_missed = seen.reads_missed;
        self.last_refusal.clone_from(&seen.last_unclear);
        for key in &seen.contradicted {
            self.wrong.insert(key.clone(), "contradicted".to_owned());
        }
    }
}

/// Notes the keys that stay wrong at a node.
async fn find_wrong(
    outcome: &Outcome,
    node: SocketAddr,
    found: &mut BTreeMap<String, String>,
) -> Result<()> {
    let right = eventually(SETTLE_WITHIN, "the keys", || outcome.check(node)).await;
    if right.is_ok() {
        return Ok(());
    }
    for (key, value, wrong) in outcome.wrong(node).await? {
        let text = key.check(value.as_deref()).unwrap_or_default();
        found.insert(key.name().to_owned(), format!("{node}: {}", describe(wrong, &text)));
    }
    Ok(())
}

fn describe(wrong: Wrong, text: &str) -> String {
    format!("[{wrong}] {text}")
}
