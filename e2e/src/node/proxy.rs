//! One connection to another node, with the queue of requests that go out on it
//! (flare-protocol.md 5.4).

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Notify, oneshot};
use tokio::task::spawn_local;
use tokio::time::sleep;

use super::clock::unix_seconds;
use super::core::Node;
use super::threads::{Backlog, Running, Thread};
use super::wire::{CONNECT_ATTEMPTS, Outgoing};
use super::words::{Words, plain_u64};

/// Attempts per request. One that fails opens the connection anew if the peer closed it; after a
/// silence, a `kill` or a strange answer the next goes out on the same connection, as with
/// upstream.
const TRIES: u32 = 4;

/// How long a new thread is in state `setup`, in which it takes no requests. On real nodes (two
/// cores, 80 pairs of threads) a pair took 0.35 ms at least, 1 ms in the middle, and up to 160 ms
/// on a busy machine: the system starts a thread when it can. Two of these are one or two
/// milliseconds each, as fine as the runtime's timer is.
const THREAD_START: Duration = Duration::from_millis(1);

/// Names under which `stats threads` shows what a connection does.
pub(crate) const PROXY_READ: &str = "proxy_read";
pub(crate) const PROXY_WRITE: &str = "proxy_write";

/// What a peer answers to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expect {
    /// Nothing: `noreply`.
    Nothing,
    /// One line.
    Line,
    /// `VALUE` blocks or `KEY` lines up to `END`, which is left off.
    List,
    /// One `VALUE` block without `END`, or a line (`gat`).
    Value,
}

/// A request on its way.
pub(crate) struct Item {
    pub(crate) op: &'static str,
    pub(crate) bytes: Bytes,
    pub(crate) expect: Expect,
    /// Gets the answer, or is dropped if there is none.
    pub(crate) done: Option<oneshot::Sender<Vec<u8>>>,
    queued: u64,
}

impl Item {
    pub(crate) fn new(op: &'static str, bytes: Vec<u8>, expect: Expect) -> Self {
        Self { op, bytes: Bytes::from(bytes), expect, done: None, queued: unix_seconds() }
    }

    /// The same with a place to wait for its answer; the wait fails if the request does.
    pub(crate) fn answered(mut self) -> (Self, oneshot::Receiver<Vec<u8>>) {
        let (done, answer) = oneshot::channel();
        self.done = Some(done);
        (self, answer)
    }
}

/// The queue of one connection.
#[derive(Default)]
pub(crate) struct Queue {
    items: RefCell<VecDeque<Item>>,
    news: Notify,
    /// Whether its thread has begun; what comes before is dropped.
    begun: Cell<bool>,
    beginning: Notify,
    closed: Cell<bool>,
}

impl Backlog for Queue {
    fn length(&self) -> usize {
        self.items.borrow().len()
    }

    fn oldest(&self) -> Option<u64> {
        self.items.borrow().front().map(|item| item.queued)
    }
}

impl Queue {
    /// False if nobody works on this queue yet, or any more.
    pub(crate) fn push(&self, item: Item) -> bool {
        if self.closed.get() || !self.begun.get() {
            return false;
        }
        self.items.borrow_mut().push_back(item);
        self.news.notify_one();
        true
    }

    /// Returns when its thread has begun, or has ended before that.
    pub(crate) async fn begun(&self) {
        while !self.begun.get() && !self.closed.get() {
            self.beginning.notified().await;
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.get()
    }

    fn begin(&self) {
        self.begun.set(true);
        self.beginning.notify_waiters();
    }

    async fn next(&self) -> Item {
        loop {
            if let Some(item) = self.items.borrow_mut().pop_front() {
                return item;
            }
            self.news.notified().await;
        }
    }

    fn close(&self) {
        self.closed.set(true);
        self.beginning.notify_waiters();
        self.items.borrow_mut().clear();
    }
}

/// Where the connections of a queue go.
#[derive(Debug, Clone)]
pub(crate) struct Destination {
    pub(crate) host: String,
    pub(crate) port: i32,
    /// Key of the node; none outside this cluster.
    pub(crate) node: Option<String>,
}

/// Starts a connection with its queue, as a thread of that type.
pub(crate) fn spawn_link(node: &Rc<Node>, kind: i32, destination: Destination) -> Rc<Queue> {
    let queue = Rc::new(Queue::default());
    let peer = format!("{}:{}", destination.host, destination.port);
    let backlog: Rc<dyn Backlog> = Rc::<Queue>::clone(&queue);
    let thread = node.threads.add(kind, peer, Some(backlog));
    thread.does("setup", "");
    if destination.node.is_none() {
        // made by no request, which others could meet
        queue.begin();
    }
    let link = Link {
        node: Rc::clone(node),
        queue: Rc::clone(&queue),
        destination,
        thread,
        connection: None,
    };
    spawn_local(link.run());
    queue
}

struct Link {
    node: Rc<Node>,
    queue: Rc<Queue>,
    destination: Destination,
    thread: Running,
    connection: Option<Outgoing>,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.queue.close();
    }
}

impl Link {
    /// Until it is killed; a connection to another cluster also ends if it cannot be made.
    async fn run(mut self) {
        let thread = Rc::<Thread>::clone(&self.thread);
        let work = async {
            if self.destination.node.is_some() {
                sleep(THREAD_START).await;
                self.node.faults.before_thread().await;
                self.queue.begin();
            }
            thread.does("connect", "");
            if !self.open().await && self.destination.node.is_none() {
                return;
            }
            loop {
                thread.waits();
                let item = tokio::select! {
                    item = self.queue.next() => item,
                    () = thread.interrupted() => return,
                };
                self.node.faults.while_silent().await;
                thread.does("execute", item.op);
                let answer = self.deliver(&item).await;
                if let (Some(done), Some(answer)) = (item.done, answer) {
                    // whoever asked may have gone
                    let _ = done.send(answer);
                }
                if thread.is_killed() {
                    return;
                }
            }
        };
        tokio::select! {
            () = work => {}
            () = thread.stop.cancelled() => {}
        }
    }

    async fn open(&mut self) -> bool {
        self.connection = None;
        let limit = self.node.read_timeout();
        let Destination { host, port, .. } = &self.destination;
        match Outgoing::open(host, *port, CONNECT_ATTEMPTS, limit).await {
            Ok(connection) => self.connection = Some(connection),
            Err(error) => tracing::warn!(node = self.node.key, host, port, %error, "no connection"),
        }
        self.connection.is_some()
    }

    /// None if the destination may not be sent anything, or all tries failed.
    async fn deliver(&mut self, item: &Item) -> Option<Vec<u8>> {
        if let Some(key) = &self.destination.node
            && !self.node.cluster.borrow().is_served(key)
        {
            return None;
        }
        let thread = Rc::<Thread>::clone(&self.thread);
        for _ in 0..TRIES {
            let tried = tokio::select! {
                biased;
                tried = self.attempt(item) => tried,
                () = thread.interrupted() => Err(io::ErrorKind::Interrupted.into()),
            };
            match tried {
                Ok(answer) => return Some(answer),
                Err(error) => {
                    let Destination { host, port, .. } = &self.destination;
                    tracing::warn!(node = self.node.key, host, port, %error, "try failed");
                    if !keeps_connection(error.kind()) {
                        self.open().await;
                    }
                }
            }
        }
        None
    }

    async fn attempt(&mut self, item: &Item) -> io::Result<Vec<u8>> {
        let connection = self.connection.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        connection.send(&item.bytes).await?;
        match item.expect {
            Expect::Nothing => Ok(Vec::new()),
            Expect::Line => line(connection).await,
            Expect::List => list(connection).await,
            Expect::Value => value(connection).await,
        }
    }
}

/// Whether the next try goes out on the same connection after this error.
fn keeps_connection(error: io::ErrorKind) -> bool {
    use io::ErrorKind::{Interrupted, Other, TimedOut};
    matches!(error, TimedOut | Interrupted | Other)
}

/// First words that count as an answer (flare-protocol.md 2).
fn is_answer(line: &[u8]) -> bool {
    let first = Words::new(line).word(usize::MAX);
    let known: [&[u8]; 12] = [
        b"OK",
        b"END",
        b"STORED",
        b"NOT_STORED",
        b"EXISTS",
        b"NOT_FOUND",
        b"DELETED",
        b"FOUND",
        b"TOUCHED",
        b"ERROR",
        b"CLIENT_ERROR",
        b"SERVER_ERROR",
    ];
    known.contains(&first) || plain_u64(first).is_some()
}

fn unexpected(line: &[u8]) -> io::Error {
    io::Error::other(format!("unexpected answer: {}", String::from_utf8_lossy(line)))
}

async fn line(connection: &mut Outgoing) -> io::Result<Vec<u8>> {
    let mut line = connection.line().await?;
    if !is_answer(&line) {
        return Err(unexpected(&line));
    }
    line.extend_from_slice(b"\r\n");
    Ok(line)
}

/// A `VALUE` block after its first line.
async fn block(connection: &mut Outgoing, line: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    let mut words = Words::new(line);
    for _ in 0..3 {
        words.word(usize::MAX);
    }
    let size = plain_u64(words.digits()).and_then(|size| usize::try_from(size).ok());
    let data = connection.block(size.ok_or_else(|| unexpected(line))?).await?;
    out.extend_from_slice(line);
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(&data);
    out.extend_from_slice(b"\r\n");
    Ok(())
}

async fn list(connection: &mut Outgoing) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    loop {
        let line = connection.line().await?;
        if line.starts_with(b"VALUE ") {
            block(connection, &line, &mut out).await?;
        } else if line.starts_with(b"KEY ") {
            out.extend_from_slice(&line);
            out.extend_from_slice(b"\r\n");
        } else if line == b"END" {
            return Ok(out);
        } else {
            return Err(unexpected(&line));
        }
    }
}

async fn value(connection: &mut Outgoing) -> io::Result<Vec<u8>> {
    let first = connection.line().await?;
    if !first.starts_with(b"VALUE ") {
        return if is_answer(&first) {
            Ok([&first[..], b"\r\n"].concat())
        } else {
            Err(unexpected(&first))
        };
    }
    let mut out = Vec::new();
    block(connection, &first, &mut out).await?;
    Ok(out)
}
