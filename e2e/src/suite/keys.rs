//! What clients wrote and must be able to read: a ledger of acknowledged writes, and a client that
//! writes without pause while something happens to the cluster.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow, bail, ensure};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::client::Client;
use super::eventually::{PATIENCE, eventually};

/// How many differences an error message lists.
const SHOWN: usize = 5;

/// Keys with the value that was last acknowledged, or none if the deletion was.
#[derive(Debug, Default, Clone)]
pub struct Ledger {
    keys: BTreeMap<String, Option<String>>,
    /// How long an answer may take; if not said, [`PATIENCE`] for a change, which is made once, and
    /// the client's usual limit for a read, which is made again.
    patience: Option<Duration>,
}

impl Ledger {
    /// One that waits this long for each answer.
    pub fn patient(limit: Duration) -> Self {
        Self { patience: Some(limit), ..Self::default() }
    }

    async fn writer(&self, node: SocketAddr) -> Result<Client> {
        let Some(limit) = self.patience else {
            return Ok(Client::connect(node).await?.answer_within(PATIENCE));
        };
        // A Service still leads, for moments, to a pod that has just gone; clients connect again.
        let client = eventually(limit, "a connection", || Client::connect(node)).await?;
        Ok(client.answer_within(limit))
    }

    async fn reader(&self, node: SocketAddr) -> Result<Client> {
        let client = Client::connect(node).await?;
        Ok(match self.patience {
            Some(limit) => client.answer_within(limit),
            None => client,
        })
    }

    /// How many keys it knows, deleted ones included.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether it knows none.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The keys that should have a value.
    pub fn present(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().filter(|(_, value)| value.is_some()).map(|(key, _)| key.as_str())
    }

    /// The keys that should have a value, with it.
    pub fn present_values(&self) -> impl Iterator<Item = (&str, &str)> {
        self.keys.iter().filter_map(|(key, value)| Some((key.as_str(), value.as_deref()?)))
    }

    /// Notes a write that was acknowledged.
    pub fn wrote(&mut self, key: &str, value: &str) {
        self.keys.insert(key.to_owned(), Some(value.to_owned()));
    }

    /// Notes a deletion that was acknowledged.
    pub fn deleted(&mut self, key: &str) {
        self.keys.insert(key.to_owned(), None);
    }

    /// Takes everything over from another one, whose word is newer.
    pub fn merge(&mut self, other: Ledger) {
        self.keys.extend(other.keys);
    }

    /// Writes keys `<prefix>0` … in turn through the given nodes; each must be acknowledged.
    pub async fn write(&mut self, nodes: &[SocketAddr], prefix: &str, count: usize) -> Result<()> {
        let mut clients = Vec::new();
        for addr in nodes {
            clients.push(self.writer(*addr).await?);
        }
        for i in 0..count {
            let client = i.checked_rem(clients.len()).ok_or_else(|| anyhow!("no node"))?;
            let (key, value) = (format!("{prefix}{i}"), format!("value of {prefix}{i}"));
            let client = &mut clients[client];
            let answer = client.set(&key, &value).await?;
            ensure!(answer == "STORED", "{} answered set {key}: {answer}", client.peer());
            self.wrote(&key, &value);
        }
        Ok(())
    }

    /// Gives keys another value through a node; each write must be acknowledged.
    pub async fn overwrite(&mut self, node: SocketAddr, keys: &[String], by: &str) -> Result<()> {
        let mut client = self.writer(node).await?;
        for key in keys {
            let value = format!("{key} since {by}");
            let answer = client.set(key, &value).await?;
            ensure!(answer == "STORED", "{node} answered set {key}: {answer}");
            self.wrote(key, &value);
        }
        Ok(())
    }

    /// Deletes keys through a node; each deletion must be acknowledged.
    pub async fn delete(&mut self, node: SocketAddr, keys: &[String]) -> Result<()> {
        let mut client = self.writer(node).await?;
        for key in keys {
            let answer = client.delete(key).await?;
            ensure!(answer == "DELETED", "{node} answered delete {key}: {answer}");
            self.deleted(key);
        }
        Ok(())
    }

    /// Reads every key through a node: those that are missing, wrong or back again, with what was
    /// found instead.
    pub async fn wrong(&self, node: SocketAddr) -> Result<BTreeMap<&str, Option<String>>> {
        let mut client = self.reader(node).await?;
        let mut wrong = BTreeMap::new();
        for (key, expected) in &self.keys {
            let found = client.get(key).await.with_context(|| format!("get {key}"))?;
            if &found != expected {
                wrong.insert(key.as_str(), found);
            }
        }
        Ok(wrong)
    }

    /// Reads every key through a node; an error lists what is missing, wrong or back again.
    pub async fn check(&self, node: SocketAddr) -> Result<()> {
        let wrong = self.wrong(node).await?;
        if wrong.is_empty() {
            return Ok(());
        }
        let told = wrong.iter().map(|(key, found)| {
            format!("{key}: {found:?} instead of {:?}", self.keys.get(*key).cloned().flatten())
        });
        let some = told.take(SHOWN).collect::<Vec<_>>().join("\n");
        bail!("{} of {} keys are wrong at {node}:\n{some}", wrong.len(), self.keys.len())
    }
}

/// What a [`Traffic`] saw.
#[derive(Debug, Default)]
pub struct Report {
    /// The keys it wrote, with their last acknowledged value.
    pub ledger: Ledger,
    /// Writes that were acknowledged.
    pub writes: usize,
    /// Writes that were refused or not answered, with what came instead.
    pub refused: Vec<String>,
    /// Reads of steady keys that did not return their value.
    pub misses: Vec<String>,
}

/// A client that writes new keys and reads steady ones, in turn through several nodes, until it
/// is told to stop.
#[derive(Debug)]
pub struct Traffic {
    stop: watch::Sender<bool>,
    progress: watch::Receiver<usize>,
    task: JoinHandle<Report>,
}

impl Traffic {
    /// Starts it, with a pause between rounds. `steady` are keys that were there before and that
    /// nobody changes. `log` tells afterwards which write went where at what time.
    pub fn start(
        nodes: Vec<SocketAddr>,
        prefix: &str,
        steady: &Ledger,
        pause: Duration,
        log: File,
    ) -> Self {
        let (stop, mut stopped) = watch::channel(false);
        let (rounds, progress) = watch::channel(0);
        let prefix = prefix.to_owned();
        let steady: Vec<_> =
            steady.keys.iter().filter_map(|(k, v)| Some((k.clone(), v.clone()?))).collect();
        let task = tokio::spawn(async move {
            let mut report = Report::default();
            let mut round = 0;
            let mut log = log;
            while !*stopped.borrow() {
                let node = nodes[round % nodes.len()];
                let steady = steady.get(round % steady.len().max(1));
                let key = format!("{prefix}{round}");
                let from = since_epoch();
                // Nothing was asked of a node that is not reached yet, so nobody waits for that.
                let connected = tokio::select! {
                    connected = Client::connect(node) => connected,
                    _ = stopped.wait_for(|stop| *stop) => break,
                };
                match connected {
                    Ok(client) => once(client, &key, steady, &mut report).await,
                    Err(reason) => report.refused.push(format!("{node}: {reason:#}")),
                }
                // the log only explains a failure: it must not be one
                writeln!(log, "{from:.6} to {:.6} {key} {node}", since_epoch()).ok();
                sleep(pause).await;
                round += 1;
                rounds.send_replace(round);
            }
            report
        });
        Self { stop, progress, task }
    }

    /// Waits until it has made `rounds` more rounds, so that what is tested meets traffic.
    pub async fn flows(&mut self, rounds: usize) -> Result<()> {
        let goal = *self.progress.borrow() + rounds;
        let reached = self.progress.wait_for(|done| *done >= goal);
        let reached = tokio::time::timeout(Duration::from_secs(60), reached).await;
        reached.context("the traffic stands still")?.context("the traffic ended")?;
        Ok(())
    }

    /// Ends it, when what it has asked of a node is answered or given up.
    pub async fn stop(self) -> Result<Report> {
        self.stop.send_replace(true);
        self.task.await.context("the traffic broke")
    }
}

/// The time of day in seconds, to be found again in the logs of the index.
fn since_epoch() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// One write and one read on a connection of their own, as a client that comes and goes.
async fn once(
    mut client: Client,
    key: &str,
    steady: Option<&(String, String)>,
    report: &mut Report,
) {
    let node = client.peer();
    match client.set(key, key).await {
        Ok(answer) if answer == "STORED" => {
            report.writes += 1;
            report.ledger.wrote(key, key);
        }
        Ok(answer) => report.refused.push(format!("{node}: set {key}: {answer}")),
        Err(reason) => return report.refused.push(format!("{node}: set {key}: {reason:#}")),
    }
    let Some((key, value)) = steady else { return };
    match client.get(key).await {
        Ok(Some(found)) if &found == value => {}
        Ok(found) => report.misses.push(format!("{node}: get {key}: {found:?}")),
        Err(reason) => report.misses.push(format!("{node}: get {key}: {reason:#}")),
    }
}
