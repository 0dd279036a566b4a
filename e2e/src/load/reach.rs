//! The connections of one client of a load: which node it talks to next, and one operation through
//! it.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use rand::RngExt;
use rand::rngs::StdRng;
use tokio::time::{sleep, timeout};

use super::Shape;
use super::ledger::{Answer, Change};
use super::worker::Avoided;
use crate::suite::client::Client;

/// Pause of a client that cannot connect, so that a dead node does not take the processor.
const CONNECT_PAUSE: Duration = Duration::from_millis(50);

/// What a node said to a change.
#[derive(Debug)]
pub(super) enum Said {
    /// An answer to that change.
    Clear(Answer),
    /// An error, or nothing in time.
    Unclear(anyhow::Error),
    /// The answer to another change.
    Mistaken(String),
}

/// The nodes that a client may talk to, with its connections.
#[derive(Debug)]
pub(super) struct Reach {
    nodes: Vec<(SocketAddr, Option<Client>)>,
    /// The places in `nodes` of those that are not to be avoided.
    used: Vec<usize>,
    /// Of those that are, but whose connection stands and is used until it ends.
    staying: Vec<usize>,
    /// The address that connections come from; any if `None`.
    from: Option<IpAddr>,
    patience: Duration,
}

impl Reach {
    pub(super) fn new(shape: &Shape) -> Self {
        let nodes: Vec<_> = shape.nodes.iter().map(|addr| (*addr, None)).collect();
        let used = (0..nodes.len()).collect();
        Self { nodes, used, staying: Vec::new(), from: shape.from, patience: shape.patience }
    }

    /// The address of a node.
    pub(super) fn addr(&self, node: usize) -> SocketAddr {
        self.nodes[node].0
    }

    /// Opens no connection to these nodes any more. On none of those that stand an answer is
    /// awaited now, so that they can be ended without a loss.
    pub(super) fn leave(&mut self, avoided: &Avoided) {
        let is_avoided = |at: &usize| avoided.nodes.contains(&self.nodes[*at].0);
        (self.staying, self.used) = (0..self.nodes.len()).partition(is_avoided);
        if !avoided.stay {
            for at in std::mem::take(&mut self.staying) {
                self.nodes[at].1 = None;
            }
        }
    }

    /// The node for the next operation: any that is not avoided, or to which a connection stands.
    pub(super) fn pick(&mut self, random: &mut StdRng) -> usize {
        let nodes = &self.nodes;
        self.staying.retain(|at| nodes[*at].1.as_ref().is_some_and(|client| !client.has_ended()));
        let at = random.random_range(0..self.used.len() + self.staying.len());
        self.used.iter().chain(&self.staying).nth(at).copied().unwrap_or_default()
    }

    /// What a node finds under a key.
    pub(super) async fn read(&mut self, node: usize, key: &str) -> Result<Option<String>> {
        let found = self.connected(node).await?.get(key).await;
        if found.is_err() {
            self.nodes[node].1 = None;
        }
        found
    }

    /// Sends a change through a node to which there is a connection.
    pub(super) async fn change(&mut self, node: usize, key: &str, change: &Change) -> Said {
        let client = match self.connected(node).await {
            Ok(client) => client,
            Err(reason) => return Said::Unclear(reason),
        };
        let line = match change {
            Change::Set(value) => client.set(key, value).await,
            Change::Add(value) => client.command(&with_data("add", key, value)).await,
            Change::Replace(value) => client.command(&with_data("replace", key, value)).await,
            Change::Delete => client.delete(key).await,
            Change::Increment => client.command(&format!("incr {key} 1")).await,
        };
        match line {
            Ok(line) => understood(change, &line),
            Err(reason) => {
                // an answer may still come: it must not be taken for the next one's
                self.nodes[node].1 = None;
                Said::Unclear(reason)
            }
        }
    }

    /// Has a counter begin at 0, unless it has begun. Whatever comes of it, whoever counts sees it.
    pub(super) async fn begin(&mut self, node: usize, counter: &str) {
        if let Ok(client) = self.connected(node).await
            && client.command(&with_data("add", counter, "0")).await.is_err()
        {
            self.nodes[node].1 = None;
        }
    }

    /// The connection to a node, made if there is none.
    pub(super) async fn connected(&mut self, node: usize) -> Result<&mut Client> {
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

fn with_data(command: &str, key: &str, value: &str) -> String {
    format!("{command} {key} 0 0 {}\r\n{value}", value.len())
}

/// What an answer means for that change.
fn understood(change: &Change, line: &str) -> Said {
    use Change::{Add, Delete, Increment, Replace, Set};
    match (change, line) {
        (Set(_) | Add(_) | Replace(_), "STORED") | (Delete, "DELETED") => Said::Clear(Answer::Done),
        (Delete | Increment, "NOT_FOUND") | (Add(_) | Replace(_), "NOT_STORED") => {
            Said::Clear(Answer::NotFound)
        }
        (Increment, number) if number.parse::<u64>().is_ok() => {
            Said::Clear(number.parse().map_or(Answer::Unclear, Answer::Counted))
        }
        (_, "STORED" | "DELETED" | "NOT_FOUND" | "") => Said::Mistaken(line.to_owned()),
        (_, number) if number.parse::<u64>().is_ok() => Said::Mistaken(line.to_owned()),
        (_, other) => Said::Unclear(anyhow!("{other}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_answer_to_the_change_itself_acknowledges_it() {
        let set = Change::Set("a".into());
        let clear = |change: &Change, line| match understood(change, line) {
            Said::Clear(answer) => Some(answer),
            _ => None,
        };
        assert_eq!(clear(&set, "STORED"), Some(Answer::Done));
        assert_eq!(clear(&Change::Delete, "DELETED"), Some(Answer::Done));
        assert_eq!(clear(&Change::Delete, "NOT_FOUND"), Some(Answer::NotFound));
        assert_eq!(clear(&Change::Increment, "7"), Some(Answer::Counted(7)));
        let mistaken =
            |change: &Change, line| matches!(understood(change, line), Said::Mistaken(_));
        assert!(mistaken(&set, "DELETED") && mistaken(&set, "NOT_FOUND") && mistaken(&set, "7"));
        assert!(mistaken(&Change::Delete, "STORED") && mistaken(&Change::Increment, ""));
        for line in ["SERVER_ERROR proxy failure", "ERROR", "NOT_STORED"] {
            assert!(matches!(understood(&set, line), Said::Unclear(_)), "{line}");
        }
    }
}
