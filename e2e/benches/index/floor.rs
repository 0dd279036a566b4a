//! The floor: a server that answers and pushes the same bytes as an index, and neither thinks nor
//! stores. What it needs is what sockets, kernel and client cost.

use std::cell::RefCell;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;

use anyhow::{Context, Result};
use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::spawn_local;

const META: &[u8] = b"META partition-size 1024\r\nMETA key-hash-algorithm simple\r\n\
    META partition-type modular\r\nMETA partition-modular-hint 1\r\n\
    META partition-modular-virtual 4096\r\nEND\r\n";

struct Floor {
    /// The `NODE` lines of those who have registered.
    lines: Vec<u8>,
    /// `stats nodes`, without its `END`.
    stats: Vec<u8>,
    registered: usize,
    expected: usize,
    version: u64,
    /// What every link sends next; empty at first.
    push: watch::Sender<Bytes>,
}

/// Serves until it is killed.
pub(crate) async fn serve(expected: usize) -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    println!("index listening on {}", listener.local_addr()?);
    let floor = Rc::new(RefCell::new(Floor {
        lines: Vec::new(),
        stats: Vec::new(),
        registered: 0,
        expected,
        version: 0,
        push: watch::Sender::new(Bytes::new()),
    }));
    loop {
        let (stream, _) = listener.accept().await?;
        let floor = Rc::clone(&floor);
        spawn_local(async move {
            // The client went away.
            let _ = session(stream, &floor).await;
        });
    }
}

async fn session(mut stream: TcpStream, floor: &Rc<RefCell<Floor>>) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = Vec::with_capacity(256);
    while stream.read_buf(&mut buffer).await? > 0 {
        if !buffer.ends_with(b"\n") {
            continue;
        }
        let line = std::str::from_utf8(&buffer)?.trim_end();
        let answer = answer(line, floor)?;
        stream.write_all(&answer).await?;
        buffer.clear();
    }
    Ok(())
}

fn answer(line: &str, shared: &Rc<RefCell<Floor>>) -> Result<Vec<u8>> {
    let mut floor = shared.borrow_mut();
    Ok(match line {
        "stats" => format!("STAT node_map_version {}\r\nEND\r\n", floor.version).into_bytes(),
        "stats nodes" => [&floor.stats[..], b"END\r\n"].concat(),
        "meta" => META.to_vec(),
        _ => {
            if let Some(node) = line.strip_prefix("node add ") {
                let address: SocketAddr = node.replace(' ', ":").parse()?;
                spawn_local(link(address, Rc::clone(shared)));
                floor.add(node, address);
                return Ok([&floor.lines[..], b"END\r\n"].concat());
            }
            if line.starts_with("node role ") {
                floor.publish();
            }
            b"OK\r\n".to_vec()
        }
    })
}

impl Floor {
    fn add(&mut self, node: &str, address: SocketAddr) {
        let thread_type = 16 + self.registered;
        self.lines.extend_from_slice(format!("NODE {node} 2 0 -1 0 {thread_type}\r\n").as_bytes());
        for (name, value) in
            [("role", "proxy"), ("state", "active"), ("partition", "-1"), ("balance", "0")]
        {
            self.stats.extend_from_slice(format!("STAT {address}:{name} {value}\r\n").as_bytes());
        }
        let last = format!("STAT {address}:thread_type {thread_type}\r\n");
        self.stats.extend_from_slice(last.as_bytes());
        self.registered += 1;
        if self.registered == self.expected {
            self.publish();
        }
    }

    fn publish(&mut self) {
        self.version += 1;
        let first = format!("node sync {}\r\n", self.version);
        let body = [first.as_bytes(), &self.lines, b"END\r\n"].concat();
        self.push.send_replace(body.into());
    }
}

/// One connection to a node: sends each map, takes each `OK`; a node that goes is news to all.
async fn link(address: SocketAddr, floor: Rc<RefCell<Floor>>) {
    let mut pushes = floor.borrow().push.subscribe();
    pushes.mark_changed();
    // A node that is killed ends its link; that is what is measured.
    let _ = push_all(address, &mut pushes).await;
    floor.borrow_mut().publish();
}

async fn push_all(address: SocketAddr, pushes: &mut watch::Receiver<Bytes>) -> Result<()> {
    let mut stream = TcpStream::connect(address).await.context("the node does not listen")?;
    stream.set_nodelay(true)?;
    let mut answer = [0; 4];
    loop {
        tokio::select! {
            changed = pushes.changed() => {
                changed?;
                let body = pushes.borrow_and_update().clone();
                if !body.is_empty() {
                    stream.write_all(&body).await?;
                    stream.read_exact(&mut answer).await?;
                }
            }
            read = stream.read(&mut answer) => {
                anyhow::ensure!(read? > 0, "the node is gone");
            }
        }
    }
}
