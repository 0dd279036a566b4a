//! Plays a script against an index: connects and sends what the recorded clients and nodes sent,
//! and compares what the index answers.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, sleep, timeout};

use super::difference::Kind;
use super::places::{Places, Threads, same_line};
use super::script::{Act, Deed, Instruction, NodePort};
use super::seats::Seats;
use crate::suite::index::Index;

/// How long one answer may take: a command that waits for a new master's answer waits for a push.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// What ends the answer to `stats threads`.
const LISTING_ENDS: [&[u8]; 2] = [b"END\r\n", b"ERROR\r\n"];

/// A connection to the index.
#[derive(Debug)]
struct Line {
    node: Option<NodePort>,
    read: BufReader<OwnedReadHalf>,
    write: OwnedWriteHalf,
    /// A `node add` of this node was sent on it.
    adds: Option<NodePort>,
}

impl Line {
    /// The next line, with its end.
    async fn next(&mut self) -> Result<Vec<u8>> {
        let mut line = Vec::new();
        timeout(ANSWER_WITHIN, self.read.read_until(b'\n', &mut line))
            .await
            .map_err(|_| anyhow!("no answer within {ANSWER_WITHIN:?}"))??;
        ensure!(!line.is_empty(), "the index closed the connection");
        Ok(line)
    }
}

/// The index and everyone around it.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) index: Index,
    pub(super) seats: Seats,
    places: Places,
    threads: Threads,
    lines: BTreeMap<u32, Line>,
    running: bool,
    /// Something was ended by `kill`.
    killed: bool,
}

impl Stage {
    /// An empty stage; the index is not running yet.
    pub(super) fn new(index: Index, seats: Seats, places: Places) -> Self {
        let (threads, lines) = (Threads::default(), BTreeMap::new());
        Self { index, seats, places, threads, lines, running: false, killed: false }
    }

    /// Starts the index.
    pub(super) async fn start_index(&mut self) -> Result<()> {
        self.index.start().await?;
        self.running = true;
        Ok(())
    }

    /// Carries out one instruction.
    pub(super) async fn play(&mut self, instruction: Instruction) -> Result<()> {
        let line = instruction.line;
        let played = match instruction.act {
            Act::Connect { conn, node } => self.connect(conn, node).await,
            Act::Send { conn, bytes } => self.send(conn, &bytes).await,
            Act::Reply { conn, bytes } => self.reply(conn, &bytes).await,
            Act::Listing { conn, command, lines } => self.listing(conn, &command, &lines).await,
            Act::Silence { conn, within } => self.silence(conn, within).await,
            Act::Close { conn } => self.close(conn).await,
            Act::Closed { conn } => self.closed(conn).await,
            Act::Person(deed) => self.person(deed).await,
            Act::Pinged(node) => {
                self.seats.expect_ping(line, node);
                Ok(())
            }
            Act::Told { node, push } => {
                self.seats.expect_push(line, node, push);
                Ok(())
            }
            Act::Ended(node) => {
                self.seats.kill(node);
                Ok(())
            }
        };
        played.with_context(|| format!("line {line}"))
    }

    fn line(&mut self, conn: u32) -> Result<&mut Line> {
        self.lines.get_mut(&conn).ok_or_else(|| anyhow!("c{conn} is not open"))
    }

    async fn connect(&mut self, conn: u32, node: Option<NodePort>) -> Result<()> {
        self.seats.settle().await?;
        if !self.running {
            self.start_index().await?;
        }
        // from the address that stands for the recorded one: the index sees who calls
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::from((self.places.host(), 0)))?;
        let stream: TcpStream = socket.connect(self.index.addr()).await?;
        stream.set_nodelay(true)?;
        let (read, write) = stream.into_split();
        let line = Line { node, read: BufReader::new(read), write, adds: None };
        self.lines.insert(conn, line);
        Ok(())
    }

    async fn send(&mut self, conn: u32, recorded: &[u8]) -> Result<()> {
        self.seats.settle().await?;
        let bytes = self.threads.translate(self.places.translate(recorded));
        let adds = added_node(recorded);
        self.killed |= recorded.starts_with(b"kill ");
        let own = self.line(conn)?.node;
        if let Some(node) = own.filter(|_| recorded.starts_with(b"node add")) {
            // flared listens before it asks to be taken
            self.seats.start(node).await?;
        }
        let line = self.line(conn)?;
        line.adds = adds;
        line.write.write_all(&bytes).await.context("the index closed the connection")
    }

    async fn listing(&mut self, conn: u32, command: &[u8], lines: &[Vec<u8>]) -> Result<()> {
        self.seats.settle().await?;
        let expected: Vec<_> = lines.iter().map(|line| self.places.translate(line)).collect();
        let end = Instant::now() + ANSWER_WITHIN;
        loop {
            let line = self.line(conn)?;
            line.write.write_all(command).await.context("the index closed the connection")?;
            let mut here = Vec::new();
            while here.last().is_none_or(|last: &Vec<u8>| !LISTING_ENDS.contains(&last.as_slice()))
            {
                here.push(line.next().await?);
            }
            let mut threads = self.threads.clone();
            let differs = if self.killed && self.seats.allows(Kind::MonitorsReturn) {
                let [expected, here] = [&expected, &here].map(|lines| without_monitors(lines));
                listing_differs(&expected, &here, &mut threads)
            } else {
                listing_differs(&expected, &here, &mut threads)
            };
            match differs {
                None => {
                    self.threads = threads;
                    return Ok(());
                }
                Some(difference) => ensure!(Instant::now() < end, "{difference}"),
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    async fn reply(&mut self, conn: u32, recorded: &[u8]) -> Result<()> {
        let expected = self.places.translate(recorded);
        let line = self.line(conn)?;
        let mut here = Vec::new();
        if expected.ends_with(b"\n") {
            here = line.next().await?;
        } else {
            here.resize(expected.len(), 0);
            timeout(ANSWER_WITHIN, line.read.read_exact(&mut here))
                .await
                .map_err(|_| anyhow!("no answer within {ANSWER_WITHIN:?}"))??;
        }
        let done = line.adds.take_if(|_| recorded == b"END\r\n");
        ensure!(
            same_line(&expected, &here, &mut self.threads),
            "the index sent {:?} instead of {:?}",
            String::from_utf8_lossy(&here),
            String::from_utf8_lossy(&expected)
        );
        if let Some(node) = done {
            let version = self.index.version().await?;
            self.seats.born(node, version);
        }
        Ok(())
    }

    async fn silence(&mut self, conn: u32, within: Duration) -> Result<()> {
        let line = self.line(conn)?;
        match timeout(within, line.read.fill_buf()).await {
            Err(_) => Ok(()),
            Ok(Ok([]) | Err(_)) => Ok(()),
            Ok(Ok(bytes)) => bail!("the index sent {:?}", String::from_utf8_lossy(bytes)),
        }
    }

    /// Closes a connection from the client's side and waits until the index has, too.
    pub(super) async fn close(&mut self, conn: u32) -> Result<()> {
        let mut line = self.lines.remove(&conn).ok_or_else(|| anyhow!("c{conn} is not open"))?;
        line.write.shutdown().await.ok();
        self.threads.forget();
        // a node that closes the connection on which it was taken has started up
        if let Some(node) = line.node.filter(|node| self.seats.runs(*node)) {
            self.seats.serve(node);
        }
        let mut rest = Vec::new();
        let read = timeout(ANSWER_WITHIN, line.read.read_to_end(&mut rest)).await;
        read.map_err(|_| anyhow!("the index keeps c{conn} open"))?.ok();
        let rest = String::from_utf8_lossy(&rest).into_owned();
        ensure!(rest.is_empty(), "the index sent {rest:?} at the end of c{conn}");
        Ok(())
    }

    async fn closed(&mut self, conn: u32) -> Result<()> {
        let mut line = self.lines.remove(&conn).ok_or_else(|| anyhow!("c{conn} is not open"))?;
        let mut byte = [0];
        match timeout(ANSWER_WITHIN, line.read.read(&mut byte)).await {
            Ok(Ok(0) | Err(_)) => Ok(()),
            Ok(Ok(_)) => bail!("the index sent more on c{conn} instead of closing it"),
            Err(_) => bail!("the index keeps c{conn} open"),
        }
    }

    async fn person(&mut self, deed: Deed) -> Result<()> {
        self.seats.settle().await?;
        match deed {
            Deed::Kill(node) | Deed::End(node) => self.seats.kill(node),
            Deed::Freeze(node) => self.seats.freeze(node),
            Deed::Thaw => self.seats.thaw(),
            Deed::Terminate(node) => self.seats.leave(node),
            Deed::KillIndex => self.kill_index().await?,
            Deed::StartIndex => self.start_index().await?,
            Deed::EmptyIndex => {
                self.kill_index().await?;
                std::fs::remove_dir_all(self.index.data())?;
                std::fs::create_dir_all(self.index.data())?;
                self.start_index().await?;
            }
        }
        Ok(())
    }

    async fn kill_index(&mut self) -> Result<()> {
        self.running = false;
        self.index.kill().await
    }
}

/// The node that a `node add` names by its recorded port.
fn added_node(command: &[u8]) -> Option<NodePort> {
    let text = std::str::from_utf8(command).ok()?.trim_end();
    text.strip_prefix("node add ")?.rsplit(' ').next()?.parse().ok()
}

/// A listing without the threads that watch nodes: their types begin at 16.
fn without_monitors(lines: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut monitor = false;
    let mut kept = Vec::new();
    for line in lines {
        let text = String::from_utf8_lossy(line);
        if let Some((_, number)) = text.trim_end().split_once(":type ") {
            monitor = number.parse().is_ok_and(|number: u32| number >= 16);
        }
        if !monitor || text.starts_with("END") {
            kept.push(line.clone());
        }
    }
    kept
}

/// What is wrong with a listing; none if it is the recorded one.
fn listing_differs(
    recorded: &[Vec<u8>],
    here: &[Vec<u8>],
    threads: &mut Threads,
) -> Option<String> {
    let mut pairs = recorded.iter().zip(here);
    if let Some((recorded, here)) = pairs.find(|(a, b)| !same_line(a, b, threads)) {
        let [recorded, here] = [recorded, here].map(|line| String::from_utf8_lossy(line));
        return Some(format!("the listing has {here:?} instead of {recorded:?}"));
    }
    let (recorded, here) = (recorded.len(), here.len());
    (recorded != here).then(|| format!("the listing has {here} lines instead of {recorded}"))
}
