//! Bad input and uninvited commands: they cost their sender an error or the connection, and
//! nobody else anything (R15, R16).

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::case;
use crate::suite::client::Client;
use crate::suite::cluster::Cluster;
use crate::suite::context::Context;
use crate::suite::index::Manifest;
use crate::suite::runner::Case;

pub(super) const CASES: &[Case] = &[
    case!("input/twenty kinds of bad input cost their sender only", bad_input),
    case!("input/outsiders change nothing", outsiders),
];

/// What an answer to bad input may be.
#[derive(Debug, Clone, Copy)]
enum Expected {
    /// A line that begins with this, and the connection stays.
    Line(&'static str),
    /// An error line or a closed connection.
    ErrorOrEnd,
    /// Nothing may be said; only the index must live on.
    Anything,
}

use Expected::{Anything, ErrorOrEnd, Line};

fn kinds() -> Vec<(&'static str, Vec<u8>, Expected)> {
    let text = |text: &str| text.as_bytes().to_vec();
    let long = |count: usize| vec![b'x'; count];
    let name = format!("node add {} 12121\r\n", "n".repeat(2000));
    let many = b"nonsense\r\n".repeat(1000);
    vec![
        ("an unknown command", text("fetch me a coffee\r\n"), Line("ERROR")),
        ("an empty line", text("\r\n"), Line("ERROR")),
        ("only blanks", text("     \r\n"), Line("ERROR")),
        ("two megabytes without a line end", long(2 << 20), ErrorOrEnd),
        ("a line of 100,000 bytes", [long(100_000), text("\r\n")].concat(), ErrorOrEnd),
        ("the binary protocol", [&[0x80_u8][..], &[0; 23]].concat(), ErrorOrEnd),
        ("NUL bytes", [vec![0; 100], text("\r\n")].concat(), ErrorOrEnd),
        ("bytes that are no UTF-8", [vec![0xff; 100], text("\r\n")].concat(), Line("ERROR")),
        ("node add without arguments", text("node add\r\n"), Line("ERROR")),
        ("a port that is no number", text("node add h abc\r\n"), Line("ERROR")),
        ("a port beyond all numbers", text("node add h 99999999999999\r\n"), ErrorOrEnd),
        ("a name of 2,000 bytes", name.into_bytes(), ErrorOrEnd),
        ("a role that does not exist", text("node role h 1 king 1 0\r\n"), Line("ERROR")),
        ("a partition of 2^31", text("node role h 1 slave 0 2147483648\r\n"), ErrorOrEnd),
        ("a state for an unknown node", text("node state h 1 active\r\n"), Line("SERVER_ERROR")),
        ("the end of an unknown node", text("shutdown h 1\r\n"), Line("SERVER_ERROR")),
        ("a thread that does not exist", text("kill 99999999\r\n"), Line("CLIENT_ERROR")),
        ("a map pushed at the index", text("node sync 99\r\nEND\r\n"), Line("ERROR")),
        ("an unfinished prefix", text("<a:1,b:2 ping\r\n"), ErrorOrEnd),
        ("a command for nodes", text("set k 0 0 1\r\nx\r\n"), Line("ERROR")),
        ("a thousand bad lines at once", many, Line("ERROR")),
        ("half a command", text("node role 127.0.0"), Anything),
    ]
}

async fn bad_input(ctx: Context) -> Result<()> {
    let cluster = Cluster::auto(&ctx, Manifest::shape(1, 2), 2).await?;
    let ledger = cluster.fill("k", 20).await?;
    let before = cluster.agreed().await?;
    let mut bystander = cluster.index.client().await?;
    for (what, bytes, expected) in kinds() {
        offer(&cluster, &bytes, expected).await.with_context(|| what.to_owned())?;
        let answer = bystander.command("ping").await.with_context(|| format!("after {what}"))?;
        ensure!(answer == "OK", "after {what} a bystander is answered {answer}");
        let map = cluster.index.map().await?;
        ensure!(map == before, "after {what} the map is\n{map}");
    }
    let mut idle = Vec::new();
    for _ in 0..200 {
        idle.push(TcpStream::connect(cluster.index.addr()).await?);
    }
    ensure!(bystander.command("ping").await? == "OK", "200 idle connections");
    drop(idle);
    cluster.readable(&ledger).await
}

async fn offer(cluster: &Cluster, bytes: &[u8], expected: Expected) -> Result<()> {
    let mut stream = TcpStream::connect(cluster.index.addr()).await?;
    // it may close while we still send: that is an answer too
    let sent = stream.write_all(bytes).await;
    let mut answer = vec![0; 64 * 1024];
    let read = match expected {
        Anything => return Ok(()),
        Line(_) | ErrorOrEnd => timeout(Duration::from_secs(5), stream.read(&mut answer)).await,
    };
    let said = match read {
        Ok(Ok(count)) => String::from_utf8_lossy(&answer[..count]).into_owned(),
        Ok(Err(_)) => String::new(),
        Err(_) => anyhow::bail!("no answer within 5 s (sending: {sent:?})"),
    };
    match expected {
        Line(start) => {
            ensure!(said.starts_with(start), "the answer is {said:?} instead of {start}");
            let mut client = Client::connect(cluster.index.addr()).await?;
            ensure!(client.command("ping").await? == "OK", "it answers nobody any more");
        }
        ErrorOrEnd => {
            let error = ["ERROR", "SERVER_ERROR", "CLIENT_ERROR"];
            let known = said.is_empty() || error.iter().any(|word| said.starts_with(word));
            ensure!(known, "the answer is {said:?}");
        }
        Anything => {}
    }
    Ok(())
}

/// In automatic mode anyone may read, and only a node may speak, about itself.
async fn outsiders(ctx: Context) -> Result<()> {
    let cluster = Cluster::auto(&ctx, Manifest::shape(1, 2), 3).await?;
    let before = cluster.agreed().await?;
    let master = cluster.master(0).await?;
    let slave = cluster.slaves(0).await?;
    let [master, slave] = [&master, &slave[0]].map(|key| cluster.node(key).map(|n| n.args()));
    let (master, slave) = (master?, slave?);
    for command in [
        format!("node role {master} slave 0 0"),
        format!("node role {slave} proxy 0 -1"),
        format!("node role {slave} slave 5 0"),
        format!("node remove {slave}"),
        format!("node state {master} down"),
    ] {
        let answer = cluster.index.command(&command).await?;
        ensure!(answer.starts_with("SERVER_ERROR"), "`{command}` is answered {answer}");
        let map = cluster.index.map().await?;
        ensure!(map == before, "after `{command}` the map is\n{map}");
    }
    ensure!(cluster.agreed().await? == before, "a node works by another map");
    let meta = cluster.index.client().await?.listing("meta").await?;
    ensure!(meta.len() == 5, "reading is for everyone: {meta:?}");
    Ok(())
}
