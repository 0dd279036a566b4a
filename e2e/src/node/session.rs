//! One accepted connection: its requests, one after the other, and their answers.

use std::io;
use std::rc::Rc;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::sleep;

use super::command::{Command, Request};
use super::core::Node;
use super::counters::add;
use super::faults::AnswerFault;
use super::map::{NodeInfo, NodeMap};
use super::threads::Running;
use super::wire::{Lines, within};
use super::{dump, reconstruction, report_text, requests};

/// First byte of the binary protocol, which upstream mostly supports and this node does not.
const BINARY: u8 = 0x80;

/// What `ping` is answered with once a change has failed, until the process ends.
const SICK: &[u8] = b"SERVER_ERROR storage error\r\n";

/// Why a connection is over.
pub(crate) enum End {
    /// The peer closed, quit, was silent for too long, or is to be closed.
    Closed,
    Failed(io::Error),
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        End::Failed(error)
    }
}

/// A connection being served.
pub(crate) struct Session {
    pub(crate) node: Rc<Node>,
    pub(crate) thread: Running,
    lines: Lines<OwnedReadHalf>,
    writer: OwnedWriteHalf,
}

impl Session {
    pub(crate) fn new(node: Rc<Node>, thread: Running, stream: TcpStream) -> Self {
        let (reader, writer) = stream.into_split();
        Self { node, thread, lines: Lines::new(reader), writer }
    }

    /// Serves requests until the connection ends.
    pub(crate) async fn run(mut self) {
        let stop = self.thread.stop.clone();
        loop {
            self.thread.waits();
            let ended = tokio::select! {
                biased;
                () = stop.cancelled() => Err(End::Closed),
                next = self.next() => next,
            };
            let ended = match ended {
                Ok(line) => self.handle(&line).await,
                Err(end) => Err(end),
            };
            match ended {
                Ok(()) => {}
                Err(End::Closed) => return,
                Err(End::Failed(error)) => {
                    tracing::debug!(node = self.node.key, %error, "connection failed");
                    return;
                }
            }
        }
    }

    async fn next(&mut self) -> Result<Vec<u8>, End> {
        let limit = self.node.read_timeout();
        if within(limit, self.lines.peek()).await? == Some(BINARY) {
            return Err(End::Closed);
        }
        self.line().await?.ok_or(End::Closed)
    }

    async fn line(&mut self) -> Result<Option<Vec<u8>>, End> {
        let line = within(self.node.read_timeout(), self.lines.line()).await?;
        let length = line.as_ref().map_or(0, |line| line.len() + 2);
        add(&self.node.counters.bytes_read, length);
        Ok(line)
    }

    async fn handle(&mut self, line: &[u8]) -> Result<(), End> {
        self.node.faults.while_silent().await;
        let Some(mut request) = Request::parse(line) else {
            return self.answer("", b"ERROR\r\n").await;
        };
        let op = request.op();
        self.thread.does("execute", op);
        if let Command::Write(write) = &mut request.command
            && let Some(size) = write.data_size()
        {
            write.set_data(within(self.node.read_timeout(), self.lines.block(size)).await?);
            add(&self.node.counters.bytes_read, size + 2);
        }
        if let Command::Dump(dump) = &request.command {
            return dump::serve(self, dump).await;
        }
        // upstream's `kill` waits for a change that has begun; other requests that wait are left
        let changes = matches!(request.command, Command::Write(_));
        let stop = self.thread.stop.clone();
        let answer = tokio::select! {
            biased;
            answer = self.execute(request) => answer?,
            () = stop.cancelled(), if !changes => return Err(End::Closed),
        };
        self.answer(op, &answer).await
    }

    async fn execute(&mut self, request: Request) -> Result<Vec<u8>, End> {
        let node = Rc::clone(&self.node);
        Ok(match request.command {
            Command::Get { keys, versions } => requests::get(&node, &keys, versions).await,
            Command::Keys { prefixes, limit } => requests::keys(&node, &prefixes, limit).await,
            Command::Write(write) => requests::write(&node, &request.prefix, write).await,
            Command::NodeSync { version } => self.node_sync(version).await?,
            Command::FlushAll { noreply } => flush_all(&node, noreply),
            Command::Ping if node.storage.borrow().is_sick() => SICK.to_vec(),
            Command::Ping => b"OK\r\n".to_vec(),
            Command::Version => b"VERSION flare-1.3.4\r\n".to_vec(),
            Command::Verbosity { noreply: true } | Command::Nothing => Vec::new(),
            Command::Verbosity { noreply: false } => b"OK\r\n".to_vec(),
            Command::Statistics(which) => report_text::statistics(&node, which),
            Command::ShowVariables => report_text::variables(&node),
            Command::Kill(id) if node.threads.kill(id) => b"OK\r\n".to_vec(),
            Command::Kill(_) => b"CLIENT_ERROR thread not found\r\n".to_vec(),
            Command::Quit | Command::Dump(_) => return Err(End::Closed),
        })
    }

    /// Reads the map that follows and takes it in.
    async fn node_sync(&mut self, version: u64) -> Result<Vec<u8>, End> {
        let mut nodes = NodeMap::new();
        loop {
            let line = self.line().await?.ok_or(End::Closed)?;
            if line == b"END" {
                break;
            }
            let Some(node) = NodeInfo::parse(&line) else {
                return Ok(b"CLIENT_ERROR format error\r\n".to_vec());
            };
            nodes.insert(node.key(), node);
        }
        let installed = self.node.cluster.borrow_mut().install(version, nodes);
        Ok(match installed {
            Ok(work) => {
                reconstruction::begin(&self.node, work).await;
                b"OK\r\n".to_vec()
            }
            Err(_) => b"SERVER_ERROR node sync error\r\n".to_vec(),
        })
    }

    /// Sends an answer, or does to it what a fault demands.
    async fn answer(&mut self, op: &str, bytes: &[u8]) -> Result<(), End> {
        if bytes.is_empty() {
            return Ok(());
        }
        let delay = self.node.faults.delay();
        if !delay.is_zero() {
            sleep(delay).await;
        }
        match self.node.faults.spoil(op) {
            None => self.send_in_time(bytes).await,
            Some(AnswerFault::Withhold) => Ok(()),
            Some(AnswerFault::Close) => Err(End::Closed),
            Some(AnswerFault::Half) => {
                self.send(&bytes[..bytes.len() / 2]).await?;
                Err(End::Closed)
            }
        }
    }

    /// Sends an answer at once, or byte by byte for as long as a fault demands it.
    async fn send_in_time(&mut self, bytes: &[u8]) -> Result<(), End> {
        let mut rest = bytes;
        while let (Some(pause), Some((first, others))) =
            (self.node.faults.drip(), rest.split_at_checked(1))
        {
            sleep(pause).await;
            self.send(first).await?;
            rest = others;
        }
        self.send(rest).await
    }

    /// Sends bytes as they are.
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> Result<(), End> {
        self.writer.write_all(bytes).await?;
        add(&self.node.counters.bytes_written, bytes.len());
        Ok(())
    }
}

fn flush_all(node: &Node, noreply: bool) -> Vec<u8> {
    match node.storage.borrow_mut().flush() {
        Ok(()) if noreply => Vec::new(),
        Ok(()) => b"OK\r\n".to_vec(),
        Err(error) => {
            tracing::error!(node = node.key, %error, "flush_all failed");
            b"SERVER_ERROR unknown error\r\n".to_vec()
        }
    }
}
