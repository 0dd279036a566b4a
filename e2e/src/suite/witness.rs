//! Looks at the node maps of an index and of its nodes all the time while a test goes on, and
//! remembers what it saw: a map with two masters may last for a moment only.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::client::Client;
use super::map::{NodeMap, Role, State};

/// Pause between two looks at the index: a step of the map lasts some milliseconds.
const INDEX_PAUSE: Duration = Duration::from_millis(5);

/// Pause between two looks at a node, and before a new connection to anyone.
const NODE_PAUSE: Duration = Duration::from_millis(50);

/// How long one look may take. A hung node costs its own watcher this much, and nobody else.
const LOOK_WITHIN: Duration = Duration::from_millis(500);

/// Watches one index and some nodes.
#[derive(Debug)]
pub struct Witness {
    stop: watch::Sender<bool>,
    seen: mpsc::UnboundedReceiver<Sight>,
    watchers: JoinSet<()>,
    index: SocketAddr,
}

/// One map, as someone showed it.
#[derive(Debug)]
struct Sight {
    whose: SocketAddr,
    version: u64,
    map: NodeMap,
}

/// What the index's map was, version by version, as far as it was seen.
#[derive(Debug, Clone, Default)]
pub struct History(pub BTreeMap<u64, NodeMap>);

impl History {
    /// How many times the node began to prepare.
    pub fn preparations(&self, key: &str) -> usize {
        let prepares = self
            .0
            .values()
            .map(|map| map.0.get(key).is_some_and(|entry| entry.state == State::Prepare));
        let prepares: Vec<bool> = prepares.collect();
        let first = usize::from(prepares.first() == Some(&true));
        first + prepares.windows(2).filter(|pair| !pair[0] && pair[1]).count()
    }
}

impl Witness {
    /// Begins to look. Nodes that do not run yet, or not any more, are looked at when they do.
    pub fn begin(index: SocketAddr, nodes: impl Iterator<Item = SocketAddr>) -> Self {
        let (stop, stopped) = watch::channel(false);
        let (sights, seen) = mpsc::unbounded_channel();
        let mut watchers = JoinSet::new();
        let pauses = std::iter::once((index, INDEX_PAUSE));
        for (whose, pause) in pauses.chain(nodes.map(|node| (node, NODE_PAUSE))) {
            watchers.spawn(watch(whose, pause, sights.clone(), stopped.clone()));
        }
        Self { stop, seen, watchers, index }
    }

    /// Ends it and judges what was seen.
    ///
    /// # Errors
    /// Somebody showed two masters of one partition, neither of them down; the index showed two
    /// maps under one version, or a version lower than one that it had shown before.
    pub async fn end(mut self) -> Result<History> {
        self.stop.send_replace(true);
        while let Some(watcher) = self.watchers.join_next().await {
            watcher.context("a watcher broke")?;
        }
        let mut history = History::default();
        let mut newest = 0;
        while let Ok(Sight { whose, version, map }) = self.seen.try_recv() {
            one_master(&map).with_context(|| format!("{whose}, version {version}"))?;
            if whose != self.index {
                continue;
            }
            ensure!(version >= newest, "the index went back from version {newest} to {version}");
            newest = version;
            if let Some(before) = history.0.get(&version) {
                ensure!(*before == map, "version {version} was\n{before}and then\n{map}");
            }
            history.0.insert(version, map);
        }
        ensure!(!history.0.is_empty(), "the index was never seen");
        Ok(history)
    }
}

/// An error if a partition has two masters that are not down.
fn one_master(map: &NodeMap) -> Result<()> {
    let mut masters = BTreeMap::new();
    for (key, entry) in &map.0 {
        if entry.role != Role::Master || entry.state == State::Down {
            continue;
        }
        if let Some(other) = masters.insert(entry.partition, key) {
            bail!("{other} and {key} are both masters:\n{map}");
        }
    }
    Ok(())
}

/// Looks until it is told to stop; only maps that differ from the one before are told.
async fn watch(
    whose: SocketAddr,
    pause: Duration,
    sights: mpsc::UnboundedSender<Sight>,
    mut stopped: watch::Receiver<bool>,
) {
    tokio::select! {
        _ = stopped.wait_for(|stopped| *stopped) => {}
        () = look_on(whose, pause, sights) => {}
    }
}

async fn look_on(whose: SocketAddr, pause: Duration, sights: mpsc::UnboundedSender<Sight>) {
    let mut client = None;
    let mut last = None;
    loop {
        match look(whose, &mut client).await {
            Ok(now) if last.as_ref() != Some(&now) => {
                last = Some(now.clone());
                let (version, map) = now;
                // the witness holds the other end as long as it looks
                sights.send(Sight { whose, version, map }).ok();
                sleep(pause).await;
            }
            Ok(_) => sleep(pause).await,
            Err(_) => {
                client = None;
                sleep(NODE_PAUSE).await;
            }
        }
    }
}

/// A map with its version; an error where it changed between the questions.
async fn look(whose: SocketAddr, client: &mut Option<Client>) -> Result<(u64, NodeMap)> {
    let client = match client {
        Some(client) => client,
        None => client.insert(Client::connect(whose).await?.answer_within(LOOK_WITHIN)),
    };
    for _ in 0..3 {
        let before = version(client).await?;
        let map = NodeMap::from_stats(&client.stats("stats nodes").await?)?;
        if version(client).await? == before {
            return Ok((before, map));
        }
    }
    bail!("{whose} changes its map all the time")
}

async fn version(client: &mut Client) -> Result<u64> {
    let stats = client.stats("stats").await?;
    let version = stats.get("node_map_version").ok_or_else(|| anyhow!("no version"))?;
    version.parse().with_context(|| format!("node_map_version {version}"))
}

#[cfg(test)]
mod tests {
    use super::super::map::Entry;
    use super::*;

    fn map(entries: &[(&str, Role, State, i32)]) -> NodeMap {
        let entry = |&(key, role, state, partition): &(&str, Role, State, i32)| {
            (key.to_owned(), Entry { role, state, partition, balance: 1, thread_type: 16 })
        };
        NodeMap(entries.iter().map(entry).collect())
    }

    #[test]
    fn two_masters_of_one_partition_are_noticed_unless_one_is_down() {
        use Role::Master;
        use State::{Active, Down, Prepare};
        one_master(&map(&[("a", Master, Active, 0), ("b", Master, Active, 1)])).unwrap();
        one_master(&map(&[("a", Master, Down, 0), ("b", Master, Active, 0)])).unwrap();
        one_master(&map(&[("a", Master, Active, 0), ("b", Master, Active, 0)])).unwrap_err();
        one_master(&map(&[("a", Master, Active, 1), ("b", Master, Prepare, 1)])).unwrap_err();
    }

    #[test]
    fn each_beginning_of_a_copy_counts_once() {
        let slave = |state| map(&[("a", Role::Slave, state, 0)]);
        let states = [State::Prepare, State::Prepare, State::Active, State::Down, State::Prepare];
        let versions = states.into_iter().enumerate();
        let history = versions.map(|(i, state)| (i as u64, slave(state))).collect();
        assert_eq!(History(history).preparations("a"), 2);
    }

    #[tokio::test]
    async fn an_index_that_goes_back_is_an_error() {
        let index = SocketAddr::from(([127, 0, 0, 1], 1));
        let (sights, seen) = mpsc::unbounded_channel();
        for version in [5, 7, 6] {
            sights.send(Sight { whose: index, version, map: map(&[]) }).unwrap();
        }
        let stop = watch::Sender::new(false);
        let witness = Witness { stop, seen, watchers: JoinSet::new(), index };
        let error = witness.end().await.unwrap_err().to_string();
        assert!(error.contains("back from version 7 to 6"), "{error}");
    }
}
