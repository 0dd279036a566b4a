//! Fake nodes: listening sockets that answer what an index asks and keep the version they were
//! told. They hold no data and know no roles.

use std::cell::Cell;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet, spawn_local};
use tokio::time::timeout;

use crate::wire::{Client, PATIENCE};

/// A node has taken a map in, and has said so.
struct Held {
    node: usize,
    version: u64,
    at: Instant,
}

/// The nodes, and which version each holds.
pub(crate) struct Fleet {
    nodes: Vec<Node>,
    versions: Vec<u64>,
    held: mpsc::UnboundedReceiver<Held>,
    tell: mpsc::UnboundedSender<Held>,
    lives: u32,
}

struct Node {
    port: u16,
    life: Option<JoinHandle<()>>,
    hangs: watch::Sender<bool>,
}

impl Fleet {
    /// As many nodes, each on a free port of its own.
    pub(crate) async fn new(count: usize) -> Result<Self> {
        let (tell, held) = mpsc::unbounded_channel();
        let mut fleet = Self { nodes: Vec::new(), versions: vec![0; count], held, tell, lives: 1 };
        for number in 0..count {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
            let port = listener.local_addr()?.port();
            let hangs = watch::Sender::new(false);
            let life = Some(fleet.live(number, listener, hangs.subscribe()));
            fleet.nodes.push(Node { port, life, hangs });
        }
        Ok(fleet)
    }

    /// A node's name and port, as the index protocol writes them.
    pub(crate) fn name(&self, node: usize) -> String {
        format!("127.0.0.1 {}", self.nodes[node].port)
    }

    /// All nodes register at once, each as flared does: `node add` and `meta` on one connection.
    pub(crate) async fn register_all(&self, server: SocketAddr) -> Result<()> {
        let mut tasks = JoinSet::new();
        for node in 0..self.nodes.len() {
            tasks.spawn_local(register(server, self.name(node)));
        }
        while let Some(done) = tasks.join_next().await {
            done.context("a fake node panicked")??;
        }
        Ok(())
    }

    /// Waits until all living nodes hold `version` or a newer one; when the last one came to it.
    pub(crate) async fn all_hold(&mut self, version: u64) -> Result<Instant> {
        let last = self.hold_or_stall(version, PATIENCE).await?;
        last.with_context(|| format!("{} nodes do not hold {version}", self.lacking(version)))
    }

    /// The same, but gives up with `None` once no node has taken a map in for `stall`.
    pub(crate) async fn hold_or_stall(
        &mut self,
        version: u64,
        stall: Duration,
    ) -> Result<Option<Instant>> {
        let mut last = Instant::now();
        while self.lacking(version) > 0 {
            let Ok(held) = timeout(stall, self.held.recv()).await else { return Ok(None) };
            let Held { node, version, at } = held.context("all fake nodes are gone")?;
            self.versions[node] = version;
            last = at;
        }
        Ok(Some(last))
    }

    /// A node's process dies: the kernel closes its listener and its connections.
    pub(crate) async fn kill(&mut self, node: usize) -> Instant {
        if let Some(life) = self.nodes[node].life.take() {
            life.abort();
            // Ends with "cancelled", once everything that it owned is dropped.
            let _ = life.await;
        }
        Instant::now()
    }

    /// A node's process is stopped, as by SIGSTOP: its connections stay, and it answers nothing.
    pub(crate) fn hang(&mut self, node: usize) -> Instant {
        self.nodes[node].hangs.send_replace(true);
        Instant::now()
    }

    /// It is started again, on the same port, and registers.
    pub(crate) async fn revive(&mut self, node: usize, server: SocketAddr) -> Result<()> {
        let port = self.nodes[node].port;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        self.versions[node] = 0;
        self.lives += 1;
        self.nodes[node].hangs.send_replace(false);
        let hangs = self.nodes[node].hangs.subscribe();
        self.nodes[node].life = Some(self.live(node, listener, hangs));
        register(server, self.name(node)).await
    }

    fn lacking(&self, version: u64) -> usize {
        let lives = |node: &Node| node.life.is_some() && !*node.hangs.borrow();
        let lacks = |(node, held): (&Node, &u64)| lives(node) && *held < version;
        self.nodes.iter().zip(&self.versions).filter(|pair| lacks(*pair)).count()
    }

    fn live(
        &self,
        node: usize,
        listener: TcpListener,
        hangs: watch::Receiver<bool>,
    ) -> JoinHandle<()> {
        let started = SystemTime::now();
        let process = Rc::new(Process { pid: self.lives, started, version: Cell::new(0), hangs });
        let tell = self.tell.clone();
        spawn_local(async move {
            // Dropped with this task, and with it every connection.
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (process, tell) = (Rc::clone(&process), tell.clone());
                connections.spawn_local(async move {
                    // A connection that ends in an error has ended; the index opens a new one.
                    let _ = serve(stream, node, &process, &tell).await;
                });
            }
        })
    }
}

async fn register(server: SocketAddr, name: String) -> Result<()> {
    let mut client = Client::connect(server).await?;
    let answer = client.listing(&format!("node add {name}")).await?;
    anyhow::ensure!(answer.ends_with("END\r\n"), "node add {name} was answered with {answer:?}");
    client.listing("meta").await?;
    Ok(())
}

/// What a node says about itself.
struct Process {
    pid: u32,
    started: SystemTime,
    version: Cell<u64>,
    hangs: watch::Receiver<bool>,
}

impl Process {
    fn stats(&self) -> String {
        let seconds = |time: SystemTime| {
            time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
        };
        let now = seconds(SystemTime::now());
        format!(
            "STAT pid {}\r\nSTAT uptime {}\r\nSTAT time {now}\r\nSTAT version 1.3.4\r\n\
             STAT curr_items 0\r\nSTAT node_map_version {}\r\nEND\r\n",
            self.pid,
            now.saturating_sub(seconds(self.started)),
            self.version.get()
        )
    }
}

async fn serve(
    mut stream: TcpStream,
    node: usize,
    process: &Process,
    tell: &mpsc::UnboundedSender<Held>,
) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = Vec::with_capacity(4 * 1024);
    let mut answers = Vec::new();
    while stream.read_buf(&mut buffer).await? > 0 {
        process.hangs.clone().wait_for(|hangs| !hangs).await?;
        let mut done = 0;
        let mut held = None;
        while let Some(request) = whole_request(&buffer[done..]) {
            let line = request.split(|byte| *byte == b'\n').next().unwrap_or_default();
            match line.trim_ascii() {
                b"ping" | b"flush_all" => answers.extend_from_slice(b"OK\r\n"),
                b"stats" => answers.extend_from_slice(process.stats().as_bytes()),
                b"stats threads" => answers.extend_from_slice(b"END\r\n"),
                b"version" => answers.extend_from_slice(b"VERSION flare-1.3.4\r\n"),
                line => match line.strip_prefix(SYNC) {
                    Some(version) => {
                        held = Some(std::str::from_utf8(version)?.parse()?);
                        answers.extend_from_slice(b"OK\r\n");
                    }
                    None => answers.extend_from_slice(b"ERROR\r\n"),
                },
            }
            done += request.len();
        }
        buffer.drain(..done);
        stream.write_all(&answers).await?;
        answers.clear();
        if let Some(version) = held {
            process.version.set(version);
            tell.send(Held { node, version, at: Instant::now() })?;
        }
    }
    Ok(())
}

const SYNC: &[u8] = b"node sync ";

/// The first request in the buffer, if all of it is there: a line, or a map up to its `END`.
fn whole_request(buffer: &[u8]) -> Option<&[u8]> {
    const END: &[u8] = b"\nEND\r\n";
    if buffer.starts_with(SYNC) {
        // Nothing is sent behind a map before it is answered: its end is the buffer's end.
        return buffer.ends_with(END).then_some(buffer);
    }
    let end = buffer.iter().position(|byte| *byte == b'\n')?;
    Some(&buffer[..=end])
}
