//! Only the wire between a master and its slave is cut: the index and clients reach both. Nobody is
//! dead, so nothing is moved. What the master cannot send it tries again for a while, and then
//! drops (flare-protocol.md 5.4): from then on the slave lacks it, and nothing that either of them
//! shows afterwards tells so. While it lasts the master's `stats threads` does.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::case;
use crate::suite::client::Client;
use crate::suite::context::Context;
use crate::suite::eventually::{PATIENCE, eventually};
use crate::suite::index::Manifest;
use crate::suite::network::{Cut, Verdict, require_own};
use crate::suite::runner::Case;
use crate::suite::trial::{Mode, Stage, Trial};

use Mode::{Async, Sync};
use Verdict::{Reset, Vanish};

pub(super) const CASES: &[Case] = &[
    case!("partial/a slave that refuses its master for a moment", briefly(Sync, Reset)),
    case!("partial/async, a slave that refuses its master for a moment", briefly(Async, Reset)),
    case!("partial/a slave that is silent to its master for a moment", briefly(Sync, Vanish)),
    case!("partial/async, a slave that is silent to its master", briefly(Async, Vanish)),
    case!("partial/a slave that refuses its master for too long lacks writes", too_long(Sync)),
    case!("partial/async, a slave that refuses its master for too long", too_long(Async)),
];

/// Shorter than the 18 s for which a master tries to reach a slave that refuses.
const BRIEFLY: Duration = Duration::from_secs(5);

/// A thread that has had something to send for so long, in seconds, is not busy but stuck.
const STUCK_SECONDS: u64 = 3;

/// With one connection from node to node each write waits for the one before.
const SETTINGS: &[(&str, &str)] = &[("proxy-concurrency", "1")];

/// A pair of which one cannot reach the other.
struct Parted {
    trial: Trial,
    cuts: Vec<Cut>,
    master: SocketAddr,
    slave: SocketAddr,
    /// The slave's number in `stats threads`.
    towards: u32,
    /// The version of the map before.
    version: u64,
}

/// What `stats threads` shows of one thread.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Thread {
    state: String,
    op: String,
    queue: usize,
    behind: u64,
}

impl Parted {
    async fn begin(ctx: &Context, mode: Mode, verdict: Verdict) -> Result<Self> {
        require_own()?;
        let manifest = Manifest::shape(1, 2).quick();
        let stage = Stage { manifest, nodes: 2, mode, settings: SETTINGS };
        let trial = Trial::begin(ctx, stage).await?;
        let (master, slave) = (trial.cluster.master(0).await?, trial.cluster.slave(0).await?);
        let towards = trial.cluster.agreed().await?.node(&slave)?.thread_type;
        let addr = |key: &str| trial.cluster.node(key).map(|node| node.addr());
        let (master, slave) = (addr(&master)?, addr(&slave)?);
        let version = trial.cluster.index.version().await?;
        let cuts = [(master, slave), (slave, master)].into_iter();
        let cuts = cuts.map(|(from, to)| Cut::between(from.port(), to.port(), verdict));
        let cuts = cuts.collect::<Result<_>>()?;
        Ok(Self { trial, cuts, master, slave, towards, version })
    }

    /// Writes a key through the master; the task ends with how long the answer took, which is
    /// `STORED`.
    fn write(&self, key: &str) -> JoinHandle<Result<Duration>> {
        let (master, key) = (self.master, key.to_owned());
        tokio::spawn(async move {
            let began = Instant::now();
            let mut client = Client::connect(master).await?.answer_within(PATIENCE);
            let answer = client.set(&key, "parted").await?;
            ensure!(answer == "STORED", "{key} was answered {answer}");
            Ok(began.elapsed())
        })
    }

    /// The master's threads towards the slave.
    async fn threads(&self) -> Result<BTreeSet<Thread>> {
        let pairs = Client::connect(self.master).await?.stats("stats threads").await?;
        let towards = self.towards.to_string();
        let of_type = |(name, value): (&String, &String)| {
            name.strip_suffix(":type").filter(|_| *value == towards).map(ToOwned::to_owned)
        };
        let threads = pairs.iter().filter_map(of_type).map(|thread| {
            let field = |name: &str| pairs.get(&format!("{thread}:{name}")).cloned();
            Ok(Thread {
                state: field("state").unwrap_or_default(),
                op: field("op").unwrap_or_default(),
                queue: field("queue").unwrap_or_default().parse()?,
                behind: field("behind").unwrap_or_default().parse()?,
            })
        });
        threads.collect()
    }

    /// Waits until the master shows that it does not get rid of what it has for the slave.
    async fn shows(&self) -> Result<()> {
        let thread = eventually(PATIENCE, "a thread that is stuck", || async {
            let threads = self.threads().await?;
            let stuck = |thread: &&Thread| thread.queue > 0 && thread.behind >= STUCK_SECONDS;
            let stuck = threads.iter().find(stuck).cloned();
            stuck.with_context(|| format!("{threads:?}"))
        });
        eprintln!("the master shows {:?} towards its slave", thread.await?);
        Ok(())
    }

    async fn heal(&mut self) -> Result<()> {
        let now = self.trial.cluster.index.version().await?;
        let map = self.trial.cluster.index.map().await?;
        ensure!(now == self.version, "version {} became {now}:\n{map}", self.version);
        std::mem::take(&mut self.cuts).into_iter().try_for_each(Cut::heal)
    }

    /// What the slave itself answers.
    async fn at_slave(&self, key: &str) -> Result<Option<String>> {
        Client::connect(self.slave).await?.get(key).await
    }
}

/// The master goes on trying: when the wire is there again the slave gets all.
async fn briefly(ctx: Context, mode: Mode, verdict: Verdict) -> Result<()> {
    let mut parted = Parted::begin(&ctx, mode, verdict).await?;
    let writes = ["parted0", "parted1"].map(|key| parted.write(key));
    let began = Instant::now();
    parted.shows().await?;
    // the pause is what is tested
    sleep(BRIEFLY.saturating_sub(began.elapsed())).await;
    parted.heal().await?;
    for (number, write) in writes.into_iter().enumerate() {
        eprintln!("{mode:?}, {verdict:?}: a write was answered after {:?}", write.await??);
        parted.trial.ledger.wrote(&format!("parted{number}"), "parted");
    }
    parted.trial.cluster.copies_are_equal(0, 1).await?;
    eprintln!("equal {:?} after the wire was cut", began.elapsed());
    ensure!(parted.trial.cluster.index.version().await? == parted.version, "the map has changed");
    parted.trial.end().await.map(drop)
}

/// The first of two writes is given up after 18 s, and acknowledged in sync mode, too: the slave
/// has no such key, and goes on answering. What would show it to the index is gone by then.
async fn too_long(ctx: Context, mode: Mode) -> Result<()> {
    let mut parted = Parted::begin(&ctx, mode, Reset).await?;
    let first = parted.write("parted0");
    eventually(PATIENCE, "the first to be under way", || async {
        let threads = parted.threads().await?;
        ensure!(threads.iter().any(|thread| thread.state == "execute"), "{threads:?}");
        Ok(())
    })
    .await?;
    let began = Instant::now();
    let second = parted.write("parted1");
    parted.shows().await?;
    eventually(PATIENCE, "the first to be given up", || async {
        let threads = parted.threads().await?;
        ensure!(threads.iter().all(|thread| thread.queue == 0), "{threads:?}");
        Ok(())
    })
    .await?;
    eprintln!("given up after {:?}", began.elapsed());
    parted.heal().await?;
    for (key, write) in [("parted0", first), ("parted1", second)] {
        eprintln!("{mode:?}: {key} was answered after {:?}", write.await??);
        parted.trial.ledger.wrote(key, "parted");
    }
    eventually(PATIENCE, "the second at the slave", || async {
        let found = parted.at_slave("parted1").await?;
        ensure!(found.is_some(), "it is not there");
        Ok(())
    })
    .await?;
    let found = parted.at_slave("parted0").await?;
    ensure!(found.is_none(), "the slave has what was given up: {found:?}");
    let threads = parted.threads().await?;
    eprintln!("afterwards the master shows {threads:?} towards its slave");
    ensure!(threads.iter().all(|thread| thread.queue == 0 && thread.behind == 0), "{threads:?}");
    ensure!(parted.trial.cluster.index.version().await? == parted.version, "the map has changed");
    // written again, it is on both
    parted.write("parted0").await??;
    parted.trial.cluster.copies_are_equal(0, 1).await?;
    parted.trial.end().await.map(drop)
}
