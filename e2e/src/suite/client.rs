//! A client of the text protocol, for indexes and nodes: sends what it is told, returns the lines
//! that come back. It interprets no more than where an answer ends.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

/// How long one answer may take. A hung node costs a look this much, so it is well below the
/// patience of a whole wait.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// What the keys begin with that the index writes for moments: nobody counts on them.
const RESERVED: &str = "flare-operator.";

/// The entries that a node stores, by key.
pub type Dump = BTreeMap<String, String>;

/// A connection to one server.
#[derive(Debug)]
pub struct Client {
    peer: SocketAddr,
    read: BufReader<OwnedReadHalf>,
    write: OwnedWriteHalf,
    answer_within: Duration,
}

impl Client {
    /// Connects; gives up after five seconds.
    pub async fn connect(peer: SocketAddr) -> Result<Self> {
        Self::over(peer, TcpStream::connect(peer)).await
    }

    /// Connects from another address of this machine, as another machine would.
    pub async fn connect_from(from: IpAddr, peer: SocketAddr) -> Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::new(from, 0))?;
        Self::over(peer, socket.connect(peer)).await
    }

    async fn over(
        peer: SocketAddr,
        connecting: impl Future<Output = io::Result<TcpStream>>,
    ) -> Result<Self> {
        let stream = timeout(ANSWER_WITHIN, connecting)
            .await
            .map_err(|_| anyhow!("{peer} does not accept a connection"))?
            .with_context(|| format!("cannot connect to {peer}"))?;
        stream.set_nodelay(true)?;
        let (read, write) = stream.into_split();
        let read = BufReader::new(read);
        Ok(Self { peer, read, write, answer_within: ANSWER_WITHIN })
    }

    /// Sets how long each answer may take.
    #[must_use]
    pub fn answer_within(mut self, limit: Duration) -> Self {
        self.answer_within = limit;
        self
    }

    /// Whom it talks to.
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Sends bytes as they are.
    pub async fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.write.write_all(bytes).await.with_context(|| format!("cannot send to {}", self.peer))
    }

    /// The next line, without its end. An error if the connection ends or nothing comes.
    pub async fn line(&mut self) -> Result<String> {
        let mut line = Vec::new();
        let read = timeout(self.answer_within, self.read.read_until(b'\n', &mut line));
        let read = read
            .await
            .map_err(|_| anyhow!("{} does not answer within {:?}", self.peer, self.answer_within))?
            .with_context(|| format!("cannot read from {}", self.peer))?;
        ensure!(read > 0 && line.ends_with(b"\n"), "{} closed the connection", self.peer);
        line.pop();
        if line.ends_with(b"\r") {
            line.pop();
        }
        Ok(String::from_utf8_lossy(&line).into_owned())
    }

    /// Has the other side closed, as far as is known without waiting? To be asked when no answer
    /// is awaited.
    pub fn has_ended(&self) -> bool {
        let mut byte = [0];
        match self.read.get_ref().try_read(&mut byte) {
            Err(error) => error.kind() != io::ErrorKind::WouldBlock,
            Ok(_) => true,
        }
    }

    /// Waits for the other side to close; an error if it sends something or stays.
    pub async fn closed(&mut self) -> Result<()> {
        let mut byte = [0];
        match timeout(self.answer_within, self.read.read(&mut byte)).await {
            Ok(Ok(0) | Err(_)) => Ok(()),
            Ok(Ok(_)) => bail!("{} sent more instead of closing", self.peer),
            Err(_) => bail!("{} keeps the connection open", self.peer),
        }
    }

    /// Sends a command line and returns the one line of its answer.
    pub async fn command(&mut self, line: &str) -> Result<String> {
        self.send(format!("{line}\r\n").as_bytes()).await?;
        self.line().await
    }

    /// Sends a command line and returns the lines of its answer before `END`. A line that begins
    /// with an error word ends the answer too, as an error.
    pub async fn listing(&mut self, line: &str) -> Result<Vec<String>> {
        self.send(format!("{line}\r\n").as_bytes()).await?;
        let mut lines = Vec::new();
        loop {
            let next = self.line().await?;
            if next == "END" {
                return Ok(lines);
            }
            if next == "ERROR" || next.starts_with("SERVER_ERROR") || next.starts_with("CLIENT_") {
                bail!("{} answered `{line}` with {next}", self.peer);
            }
            lines.push(next);
        }
    }

    /// Sends `stats …` and returns its pairs.
    pub async fn stats(&mut self, line: &str) -> Result<BTreeMap<String, String>> {
        let lines = self.listing(line).await?;
        lines
            .iter()
            .map(|line| {
                let rest = line.strip_prefix("STAT ").ok_or_else(|| anyhow!("not STAT: {line}"))?;
                let (key, value) = rest.split_once(' ').unwrap_or((rest, ""));
                Ok((key.to_owned(), value.to_owned()))
            })
            .collect()
    }

    /// Stores a value; the server's answer, which is `STORED` if it took it.
    pub async fn set(&mut self, key: &str, value: &str) -> Result<String> {
        let size = value.len();
        self.send(format!("set {key} 0 0 {size}\r\n{value}\r\n").as_bytes()).await?;
        self.line().await
    }

    /// The value of a key, or none.
    pub async fn get(&mut self, key: &str) -> Result<Option<String>> {
        self.send(format!("get {key}\r\n").as_bytes()).await?;
        self.found(key).await
    }

    /// Asks for many keys without waiting for each answer; what was found, in the same order.
    pub async fn get_each(&mut self, keys: &[&str]) -> Result<Vec<Option<String>>> {
        let requests: String = keys.iter().map(|key| format!("get {key}\r\n")).collect();
        self.send(requests.as_bytes()).await?;
        let mut all = Vec::new();
        for key in keys {
            all.push(self.found(key).await?);
        }
        Ok(all)
    }

    /// The answer to a `get`.
    async fn found(&mut self, key: &str) -> Result<Option<String>> {
        let head = self.line().await?;
        if head == "END" {
            return Ok(None);
        }
        let mut words = head.split(' ');
        ensure!(words.next() == Some("VALUE"), "{} answered get with {head}", self.peer);
        ensure!(words.next() == Some(key), "{} answered for another key: {head}", self.peer);
        let value = self.line().await?;
        let end = self.line().await?;
        ensure!(end == "END", "{} ended a value with {end}", self.peer);
        Ok(Some(value))
    }

    /// Deletes a key; the server's answer, which is `DELETED` or `NOT_FOUND`.
    pub async fn delete(&mut self, key: &str) -> Result<String> {
        self.command(&format!("delete {key}")).await
    }

    /// What the node itself stores of a partition, of `partitions` in all: each key with its flag,
    /// value, version and expiry, as `dump` prints them. What the index writes is left out.
    pub async fn dump(&mut self, partition: i32, partitions: i32) -> Result<Dump> {
        let request = format!("dump 0 {partition} {partitions}");
        let mut entries = BTreeMap::new();
        self.send(format!("{request}\r\n").as_bytes()).await?;
        loop {
            let head = self.line().await?;
            if head == "END" {
                return Ok(entries);
            }
            let words: Vec<&str> = head.split(' ').collect();
            let ["VALUE", key, flag, _, version, expire] = words[..] else {
                bail!("{} answered `{request}` with {head}", self.peer);
            };
            let entry = format!("{flag} {version} {expire} {}", self.line().await?);
            if !key.starts_with(RESERVED) {
                entries.insert(key.to_owned(), entry);
            }
        }
    }
}
