//! The connections of a replay: those that the replay opens to the node, and those that it accepts
//! in the place of others. Lines are collected in the background.

use std::collections::{BTreeMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::tcp::OwnedWriteHalf;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

/// Longest wait for anything that was recorded: a failed report takes 4.5 s.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// One connection, from the replay's side.
pub(crate) struct Wire {
    lines: VecDeque<Vec<u8>>,
    inbox: mpsc::UnboundedReceiver<Vec<u8>>,
    writer: OwnedWriteHalf,
}

impl Wire {
    pub(crate) fn new(stream: TcpStream) -> Self {
        let (reader, writer) = stream.into_split();
        let (sender, inbox) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            let mut reader = BufReader::new(reader);
            let mut line = Vec::new();
            while let Ok(1..) = reader.read_until(b'\n', &mut line).await {
                if sender.send(std::mem::take(&mut line)).is_err() {
                    return;
                }
            }
        });
        Self { lines: VecDeque::new(), inbox, writer }
    }

    fn collect(&mut self) {
        while let Ok(line) = self.inbox.try_recv() {
            self.lines.push_back(line);
        }
    }

    /// The next line; none at the end of the stream or of the patience.
    pub(crate) async fn line(&mut self) -> Option<Vec<u8>> {
        self.collect();
        match self.lines.pop_front() {
            Some(line) => Some(line),
            None => timeout(PATIENCE, self.inbox.recv()).await.ok().flatten(),
        }
    }

    /// Lines that came and were not asked for.
    pub(crate) fn leftovers(&mut self) -> Vec<String> {
        self.collect();
        self.lines.iter().map(|line| String::from_utf8_lossy(line).into_owned()).collect()
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.writer.write_all(bytes).await.map_err(|error| format!("it takes nothing: {error}"))
    }

    /// Closes the replay's direction.
    pub(crate) async fn close(&mut self) {
        // the node may have been first
        let _ = self.writer.shutdown().await;
    }

    /// Waits until the node has closed its direction; whether it did, and said nothing before.
    pub(crate) async fn ends(&mut self) -> bool {
        self.collect();
        self.lines.is_empty() && matches!(timeout(PATIENCE, self.inbox.recv()).await, Ok(None))
    }
}

/// The parties that the replay plays: listening sockets, and what connected to them.
pub(crate) struct Stage {
    ip: Ipv4Addr,
    listeners: BTreeMap<u16, JoinHandle<()>>,
    accepted: mpsc::UnboundedReceiver<(u16, TcpStream)>,
    sender: mpsc::UnboundedSender<(u16, TcpStream)>,
    /// Everything accepted, with the port that it came to.
    wires: Vec<(u16, Wire)>,
    /// Which of them is which connection of the recording.
    bound: BTreeMap<u32, usize>,
    /// Where the last read of a connection went instead: a node chooses its reader at random.
    detours: BTreeMap<u32, usize>,
}

impl Stage {
    pub(crate) fn new(ip: Ipv4Addr) -> Self {
        let (sender, accepted) = mpsc::unbounded_channel();
        Self {
            ip,
            listeners: BTreeMap::new(),
            accepted,
            sender,
            wires: Vec::new(),
            bound: BTreeMap::new(),
            detours: BTreeMap::new(),
        }
    }

    pub(crate) async fn listen(&mut self, port: u16) {
        let address = SocketAddrV4::new(self.ip, port);
        let listener = TcpListener::bind(address).await.expect("the replay's own address is free");
        let sender = self.sender.clone();
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                if sender.send((port, stream)).is_err() {
                    return;
                }
            }
        });
        self.listeners.insert(port, accepting);
    }

    /// Refuses connections to a port from now on.
    pub(crate) async fn leave(&mut self, port: u16) {
        if let Some(listener) = self.listeners.remove(&port) {
            listener.abort();
            // the socket is closed when the task is gone
            let _ = listener.await;
        }
    }

    /// Takes a line that the node was recorded to send on a connection to this port. The first
    /// line decides which connection that is, and it stays that one; only a read may go to another
    /// port.
    pub(crate) async fn take(
        &mut self,
        conn: u32,
        port: u16,
        fits: impl Fn(&[u8]) -> bool,
        is_read: bool,
    ) -> Result<(), String> {
        let end = Instant::now() + PATIENCE;
        self.detours.remove(&conn);
        loop {
            while let Ok((port, stream)) = self.accepted.try_recv() {
                self.wires.push((port, Wire::new(stream)));
            }
            if let Some(index) = self.find(conn, port, &fits, is_read) {
                let (to, wire) = &mut self.wires[index];
                wire.lines.pop_front();
                if *to == port {
                    self.bound.insert(conn, index);
                } else {
                    self.detours.insert(conn, index);
                }
                return Ok(());
            }
            if Instant::now() > end {
                return Err(format!("it did not come; instead: {:?}", self.leftovers()));
            }
            sleep(Duration::from_millis(2)).await;
        }
    }

    fn find(
        &mut self,
        conn: u32,
        port: u16,
        fits: impl Fn(&[u8]) -> bool,
        is_read: bool,
    ) -> Option<usize> {
        let known = self.bound.get(&conn).copied();
        let taken: Vec<usize> = self.bound.values().copied().collect();
        let mut candidates = self.wires.iter_mut().enumerate().filter_map(|(index, (to, wire))| {
            wire.collect();
            wire.lines.front().is_some_and(|line| fits(line)).then_some((index, *to))
        });
        candidates
            .find(|(index, to)| match known {
                Some(known) => *index == known || is_read && *to != port,
                None => is_read || *to == port && !taken.contains(index),
            })
            .map(|(index, _)| index)
    }

    /// The connection on which that recorded connection's last request came.
    pub(crate) fn wire(&mut self, conn: u32) -> Option<&mut Wire> {
        let index = self.detours.get(&conn).or_else(|| self.bound.get(&conn)).copied()?;
        self.wires.get_mut(index).map(|(_, wire)| wire)
    }

    /// Lines that came and that the recording does not have.
    pub(crate) fn leftovers(&mut self) -> Vec<String> {
        self.wires.iter_mut().flat_map(|(_, wire)| wire.leftovers()).collect()
    }
}
