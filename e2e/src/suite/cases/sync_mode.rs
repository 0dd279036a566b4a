//! What two nodes do in sync mode while they do not agree who is master and who is slave, and what
//! becomes of a connection on which an answer came too late (flare-protocol.md 5.4, 12). These are
//! flared's ways, not the index', and the reason for its order of telling: so here the tests tell
//! the nodes their maps, and look at what goes over the wires between them.

use std::net::SocketAddr;

use anyhow::{Result, bail, ensure};
use tokio::task::JoinHandle;

use super::case;
use crate::suite::client::{Client, Dump};
use crate::suite::context::Context;
use crate::suite::eventually::{PATIENCE, eventually};
use crate::suite::node::Node;
use crate::suite::runner::Case;
use crate::suite::wiretap::{Traffic, Wiretap};

pub(super) const CASES: &[Case] = &[
    case!("sync/two masters whose writes cross wait for each other", crossing),
    case!("sync/two masters do not wait for each other on two connections", two_connections),
    case!("sync/two masters that write the same key each keep their own", same_key),
    case!("sync/a slave that does not know it waits for its master", unaware_in_sync),
    case!("sync/in asynchronous mode nobody waits", unaware_async),
    case!("sync/a connection that is killed tries on, once less each time", killed),
    case!("sync/a late answer is taken for that of a later write", late_answers),
];

/// How often a request is sent at most.
const TRIES: usize = 4;

/// In sync mode, two seconds of patience for each try, one connection from node to node.
const SHORT: &[(&str, &str)] =
    &[("replication-type", "sync"), ("net-read-timeout", "2"), ("proxy-concurrency", "1")];

/// In sync mode, otherwise as flared is by itself: 600 s of patience, two connections.
const USUAL: &[(&str, &str)] = &[("replication-type", "sync")];

/// Role, state, partition and balance, as a `NODE` line has them.
const MASTER: &str = "0 0 0 1";
const SLAVE: &str = "1 0 0 1";
const PREPARING: &str = "1 1 0 0";
const PROXY: &str = "2 0 -1 0";

/// The thread types of the two nodes.
const A: &str = "16";
const B: &str = "17";

/// Two nodes without an index, and the wires by which each reaches the other.
struct Pair {
    a: Node,
    b: Node,
    to_a: Wiretap,
    to_b: Wiretap,
}

impl Pair {
    async fn start(ctx: &Context, for_a: &[(&str, &str)], for_b: &[(&str, &str)]) -> Result<Self> {
        let mut index = ctx.manual_index()?;
        index.start().await?;
        let (mut a, mut b) = (ctx.node("a", &index)?, ctx.node("b", &index)?);
        for (node, settings) in [(&mut a, for_a), (&mut b, for_b)] {
            settings.iter().for_each(|(key, value)| node.setting(key, *value));
            node.start().await?;
        }
        // it would tell them its own map
        index.kill().await?;
        let (to_a, to_b) = (Wiretap::lay(a.addr()).await?, Wiretap::lay(b.addr()).await?);
        Ok(Self { a, b, to_a, to_b })
    }

    /// Tells A what it and B are, in the map of that version.
    async fn tell_a(&self, version: u64, a: &str, b: &str) -> Result<()> {
        tell(&self.a, version, &[(self.a.addr(), a, A), (self.to_b.addr(), b, B)]).await
    }

    /// Tells B what A and it are.
    async fn tell_b(&self, version: u64, a: &str, b: &str) -> Result<()> {
        tell(&self.b, version, &[(self.to_a.addr(), a, A), (self.b.addr(), b, B)]).await
    }

    /// Each holds itself master and the other its slave.
    async fn two_masters(&self) -> Result<()> {
        self.tell_a(1_000, MASTER, SLAVE).await?;
        self.tell_b(1_000, SLAVE, MASTER).await
    }

    /// Writes a key at A and a key at B, so that each is under way when the other is. Both are
    /// answered `STORED` in the end.
    async fn write_at_once(&self, at_a: &str, at_b: &str) -> Result<()> {
        self.to_a.hold();
        self.to_b.hold();
        let (a, b) = (write(&self.a, at_a, "a"), write(&self.b, at_b, "b"));
        for wire in [&self.to_a, &self.to_b] {
            wire.shows("a write under way", |seen| !seen.requests.is_empty()).await?;
        }
        // only the writes wait
        let mut client = self.a.client().await?;
        ensure!(client.command("ping").await? == "OK", "no answer to ping");
        ensure!(client.get(at_a).await?.as_deref() == Some("a"), "it is not read at the master");
        self.tell_a(1_000, MASTER, SLAVE).await?;
        self.to_a.release();
        self.to_b.release();
        for answer in [a, b] {
            let answer = answer.await??;
            ensure!(answer == "STORED", "a write was answered {answer}");
        }
        Ok(())
    }

    /// The line with which a node that was asked in vain by `passed` sends a copy of the key on.
    fn copy(&self, passed: &[&Node], key: &str) -> String {
        let passed: Vec<String> = passed.iter().map(|node| node.key()).collect();
        format!("<{}>set {key} 0 0 1 1", passed.join(","))
    }

    /// Waits until both hold the same, and these keys. A is asked when B has them: a node is dumped
    /// by one at a time, and B may be at it.
    async fn hold_the_same(&self, keys: &[&str]) -> Result<()> {
        eventually(PATIENCE, "the same keys at both", || async {
            let b = dump(&self.b).await?;
            ensure!(b.keys().eq(keys), "B has {b:?}");
            let a = dump(&self.a).await?;
            ensure!(a == b, "A has {a:?}, B has {b:?}");
            Ok(())
        })
        .await
    }
}

/// Tells a node a map.
async fn tell(node: &Node, version: u64, entries: &[(SocketAddr, &str, &str)]) -> Result<()> {
    let mut map = format!("node sync {version}\r\n");
    for (addr, is, thread_type) in entries {
        map.push_str(&format!("NODE {} {} {is} {thread_type}\r\n", addr.ip(), addr.port()));
    }
    let answer = node.client().await?.command(&(map + "END")).await?;
    ensure!(answer == "OK", "{} answered a map with {answer}", node.key());
    Ok(())
}

/// A client that sets a key: its answer.
fn write(node: &Node, key: &str, value: &str) -> JoinHandle<Result<String>> {
    let (addr, key, value) = (node.addr(), key.to_owned(), value.to_owned());
    tokio::spawn(async move {
        Client::connect(addr).await?.answer_within(PATIENCE).set(&key, &value).await
    })
}

async fn dump(node: &Node) -> Result<Dump> {
    node.client().await?.dump(0, 1).await
}

/// Different requests in their order, each with the number of times that it was sent in a row.
fn tries(seen: &Traffic) -> Vec<(&str, usize)> {
    let mut runs: Vec<(&str, usize)> = Vec::new();
    for request in &seen.requests {
        match runs.last_mut() {
            Some((last, times)) if *last == request => *times += 1,
            _ => runs.push((request, 1)),
        }
    }
    runs
}

/// Each has sent the other its own write, and gets to the other's copy only when it gives up: they
/// wait twice four times `net-read-timeout`. How long that is is not looked at, that requests are
/// sent again is, on the same connection.
async fn crossing(ctx: Context) -> Result<()> {
    let pair = Pair::start(&ctx, SHORT, SHORT).await?;
    pair.two_masters().await?;
    pair.write_at_once("ka", "kb").await?;
    pair.hold_the_same(&["ka", "kb"]).await?;
    let (a, b) = (&pair.a, &pair.b);
    for (wire, own, other) in [
        (&pair.to_b, pair.copy(&[a], "ka"), pair.copy(&[b, a], "kb")),
        (&pair.to_a, pair.copy(&[b], "kb"), pair.copy(&[a, b], "ka")),
    ] {
        wire.shows("the other's copy", |seen| seen.requests.contains(&other)).await?;
        let seen = wire.traffic();
        let [(first, times), (second, _)] = tries(&seen)[..] else {
            bail!("two requests were expected: {seen:?}")
        };
        ensure!((first, second) == (own.as_str(), other.as_str()), "{seen:?}");
        ensure!((2..=TRIES).contains(&times), "sent {times} times: {seen:?}");
        ensure!(seen.connections == 1, "{seen:?}");
    }
    Ok(())
}

/// A key always takes the same connection. Two that take different ones do not meet.
async fn two_connections(ctx: Context) -> Result<()> {
    let pair = Pair::start(&ctx, USUAL, USUAL).await?;
    pair.two_masters().await?;
    pair.write_at_once("ka", "kb").await?;
    let (a, b) = (&pair.a, &pair.b);
    for (wire, mut expected) in [
        (&pair.to_b, [pair.copy(&[a], "ka"), pair.copy(&[b, a], "kb")]),
        (&pair.to_a, [pair.copy(&[b], "kb"), pair.copy(&[a, b], "ka")]),
    ] {
        let mut requests = wire.traffic().requests;
        requests.sort();
        expected.sort();
        ensure!(requests == expected, "{requests:?}");
    }
    pair.hold_the_same(&["ka", "kb"]).await
}

/// Each has the key in that version and does not take the other's: nobody waits, both clients are
/// told that it is stored, and the copies differ for good.
async fn same_key(ctx: Context) -> Result<()> {
    let pair = Pair::start(&ctx, USUAL, USUAL).await?;
    pair.two_masters().await?;
    pair.write_at_once("k", "k").await?;
    for (wire, node) in [(&pair.to_b, &pair.a), (&pair.to_a, &pair.b)] {
        let seen = wire.traffic();
        ensure!(seen.requests == [pair.copy(&[node], "k")], "{seen:?}");
    }
    let (a, b) = (dump(&pair.a).await?, dump(&pair.b).await?);
    ensure!(a["k"] == "0 1 0 a" && b["k"] == "0 1 0 b", "{a:?} and {b:?}");
    Ok(())
}

async fn unaware_in_sync(ctx: Context) -> Result<()> {
    let pair = Pair::start(&ctx, SHORT, SHORT).await?;
    // whoever gives up first decides; that it was carried out is certain either way
    let answer = unaware(&pair).await?;
    ensure!(["STORED", "SERVER_ERROR proxy error"].contains(&answer.as_str()), "{answer}");
    for wire in [&pair.to_a, &pair.to_b] {
        let seen = wire.traffic();
        let first = tries(&seen).first().map(|(_, times)| *times);
        ensure!(first.is_some_and(|times| (2..=TRIES).contains(&times)), "{seen:?}");
    }
    becomes_aware(&pair).await
}

async fn unaware_async(ctx: Context) -> Result<()> {
    let one = &[("proxy-concurrency", "1")];
    let pair = Pair::start(&ctx, one, one).await?;
    let answer = unaware(&pair).await?;
    ensure!(answer == "STORED", "{answer}");
    becomes_aware(&pair).await?;
    let all_once = |seen: &Traffic| tries(seen).iter().all(|(_, times)| *times == 1);
    for wire in [&pair.to_a, &pair.to_b] {
        let seen = wire.traffic();
        ensure!(all_once(&seen) && !seen.requests.is_empty(), "{seen:?}");
    }
    Ok(())
}

/// B is the slave of A, which knows it, and does not know it itself. A client sets `k` at B, which
/// passes it on to A, gets it back as a copy, and passes that on behind the write that it waits
/// for. The client's answer.
async fn unaware(pair: &Pair) -> Result<String> {
    pair.tell_b(1_000, MASTER, PROXY).await?;
    pair.tell_a(1_000, MASTER, PROXY).await?;
    pair.tell_a(1_001, MASTER, PREPARING).await?;
    write(&pair.b, "k", "b").await?
}

/// B is told, and copies: nothing is lost.
async fn becomes_aware(pair: &Pair) -> Result<()> {
    pair.tell_b(1_001, MASTER, PREPARING).await?;
    pair.hold_the_same(&["k"]).await
}

/// After a slave was silent for longer than `net-read-timeout`, each try has its answer, and the
/// first alone is waited for: from then on writes are acknowledged before the slave has them, until
/// that connection ends.
async fn late_answers(ctx: Context) -> Result<()> {
    let pair = Pair::start(&ctx, SHORT, USUAL).await?;
    pair.tell_b(1_000, MASTER, SLAVE).await?;
    pair.tell_a(1_000, MASTER, SLAVE).await?;
    pair.to_b.hold();
    let answer = write(&pair.a, "k1", "a").await??;
    ensure!(answer == "STORED", "{answer}");
    let sent = pair.to_b.traffic().requests.len();
    ensure!(sent > 1, "it was sent once");
    pair.to_b.release();
    pair.to_b.shows("all answers", |seen| seen.answers == sent).await?;
    pair.to_b.hold();
    let answer = write(&pair.a, "k2", "a").await??;
    ensure!(answer == "STORED", "{answer}");
    ensure!(!dump(&pair.b).await?.contains_key("k2"), "the slave has what was held up");
    let again = pair.copy(&[&pair.a], "k2");
    pair.to_b.shows("one try", |seen| tries(seen).last() == Some(&(&again, 1))).await?;
    pair.to_b.release();
    pair.hold_the_same(&["k1", "k2"]).await
}

/// `kill` of the thread that waits for the slave ends one try, and the thread with the last: then
/// whoever waits is answered, and the next write makes a new connection.
async fn killed(ctx: Context) -> Result<()> {
    let settings: Vec<_> = [USUAL, &[("proxy-concurrency", "1")]].concat();
    let pair = Pair::start(&ctx, &settings, &settings).await?;
    pair.tell_b(1_000, MASTER, SLAVE).await?;
    pair.tell_a(1_000, MASTER, SLAVE).await?;
    pair.to_b.hold();
    let waits = write(&pair.a, "k1", "a");
    pair.to_b.shows("the copy under way", |seen| !seen.requests.is_empty()).await?;
    eventually(PATIENCE, "the end of the thread", || async {
        let mut client = pair.a.client().await?;
        let threads = client.stats("stats threads").await?;
        let towards = |(name, value): (&String, &String)| {
            name.strip_suffix(":type").filter(|_| *value == B).map(ToOwned::to_owned)
        };
        let Some(thread) = threads.iter().find_map(towards) else { return Ok(()) };
        let answer = client.command(&format!("kill {thread}")).await?;
        bail!("kill {thread}: {answer}")
    })
    .await?;
    let answer = waits.await??;
    ensure!(answer == "STORED", "{answer}");
    let seen = pair.to_b.traffic();
    let copy = pair.copy(&[&pair.a], "k1");
    let [(request, times)] = tries(&seen)[..] else { bail!("more than one: {seen:?}") };
    ensure!(request == copy && (2..=TRIES).contains(&times), "{seen:?}");
    pair.to_b.release();
    let answer = write(&pair.a, "k2", "a").await??;
    ensure!(answer == "STORED", "{answer}");
    ensure!(dump(&pair.b).await?.contains_key("k2"), "it was not waited for");
    ensure!(pair.to_b.traffic().connections == 2, "{:?}", pair.to_b.traffic());
    Ok(())
}
