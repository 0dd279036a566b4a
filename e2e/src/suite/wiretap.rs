//! A wire between two nodes that can be looked at and held up: a relay that a node takes for
//! another one, since the map that it is given says so.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Result, ensure};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};

use super::eventually::{PATIENCE, eventually};

/// What went through a wire.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Traffic {
    /// How many connections were made.
    pub connections: usize,
    /// The lines of requests that another node passed on (they begin with its key: `<a:1>set …`),
    /// in their order, also those that are held up. Data blocks are left out.
    pub requests: Vec<String>,
    /// How many lines came back.
    pub answers: usize,
}

/// A wire to one node.
#[derive(Debug)]
pub struct Wiretap {
    addr: SocketAddr,
    held: watch::Sender<bool>,
    traffic: watch::Sender<Traffic>,
    relay: JoinHandle<()>,
}

impl Drop for Wiretap {
    fn drop(&mut self) {
        self.relay.abort();
    }
}

impl Wiretap {
    /// Lays a wire that ends at the node `to`.
    pub async fn lay(to: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let addr = listener.local_addr()?;
        let (held, traffic) = (watch::Sender::new(false), watch::Sender::new(Traffic::default()));
        let ends = (held.clone(), traffic.clone());
        let relay = tokio::spawn(async move {
            // dropped with this task, and all connections with it
            let mut open = JoinSet::new();
            while let Ok((from, _)) = listener.accept().await {
                let (held, traffic) = ends.clone();
                traffic.send_modify(|seen| seen.connections += 1);
                open.spawn(connection(from, to, held, traffic));
            }
        });
        Ok(Self { addr, held, traffic, relay })
    }

    /// Where it begins.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Lets no further request through. They are taken, and seen.
    pub fn hold(&self) {
        self.held.send_replace(true);
    }

    /// Lets them through again.
    pub fn release(&self) {
        self.held.send_replace(false);
    }

    /// What was seen until now.
    pub fn traffic(&self) -> Traffic {
        self.traffic.borrow().clone()
    }

    /// Waits until the traffic is as it should be.
    pub async fn shows(&self, what: &str, test: impl Fn(&Traffic) -> bool) -> Result<()> {
        eventually(PATIENCE, what, || async {
            let seen = self.traffic();
            ensure!(test(&seen), "seen: {seen:?}");
            Ok(())
        })
        .await
    }
}

/// One connection, until either side ends it.
async fn connection(
    from: TcpStream,
    to: SocketAddr,
    held: watch::Sender<bool>,
    traffic: watch::Sender<Traffic>,
) {
    let Ok(onward) = TcpStream::connect(to).await else { return };
    // a socket without the option is slower, no more
    from.set_nodelay(true).and_then(|()| onward.set_nodelay(true)).ok();
    let ((asks, answered), (answers, asked)) = (from.into_split(), onward.into_split());
    // an end or an error ends both directions
    tokio::select! {
        _ = pass_requests(asks, asked, held, &traffic) => {}
        _ = pass_answers(answers, answered, &traffic) => {}
    }
}

/// Lines are taken, and seen, also while none is let through.
async fn pass_requests(
    from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    held: watch::Sender<bool>,
    traffic: &watch::Sender<Traffic>,
) -> io::Result<()> {
    let (taken, mut waiting) = mpsc::unbounded_channel();
    let take = async {
        let mut from = BufReader::new(from);
        loop {
            let mut line = Vec::new();
            if from.read_until(b'\n', &mut line).await? == 0 {
                return Ok(());
            }
            if line.starts_with(b"<") {
                let line = String::from_utf8_lossy(&line).trim_end().to_owned();
                traffic.send_modify(|seen| seen.requests.push(line));
            }
            // whoever ends first ends the other
            taken.send(line).ok();
        }
    };
    let pass = async {
        while let Some(line) = waiting.recv().await {
            // its sender is here, so it cannot be closed
            held.subscribe().wait_for(|held| !held).await.ok();
            to.write_all(&line).await?;
        }
        Ok(())
    };
    tokio::select! {
        ended = take => ended,
        ended = pass => ended,
    }
}

async fn pass_answers(
    from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    traffic: &watch::Sender<Traffic>,
) -> io::Result<()> {
    let mut from = BufReader::new(from);
    let mut line = Vec::new();
    while from.read_until(b'\n', &mut line).await? > 0 {
        to.write_all(&line).await?;
        traffic.send_modify(|seen| seen.answers += 1);
        line.clear();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite::client::Client;

    #[tokio::test]
    async fn what_is_held_is_seen_and_passed_on_later() {
        let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let wire = Wiretap::lay(server.local_addr().unwrap()).await.unwrap();
        wire.hold();
        let mut client = Client::connect(wire.addr()).await.unwrap();
        client.send(b"<a:1>set k 0 0 1\r\nx\r\n").await.unwrap();
        let (mut stream, _) = server.accept().await.unwrap();
        wire.shows("the request", |seen| seen.requests == ["<a:1>set k 0 0 1"]).await.unwrap();
        assert!(stream.try_read(&mut [0; 9]).is_err(), "it was let through");
        wire.release();
        let mut lines = BufReader::new(&mut stream).lines();
        assert_eq!(lines.next_line().await.unwrap().unwrap(), "<a:1>set k 0 0 1");
        assert_eq!(lines.next_line().await.unwrap().unwrap(), "x");
        stream.write_all(b"STORED\r\n").await.unwrap();
        assert_eq!(client.line().await.unwrap(), "STORED");
        assert_eq!((wire.traffic().connections, wire.traffic().answers), (1, 1));
    }
}
