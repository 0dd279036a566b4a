//! The threads that `stats threads` shows and `kill` ends. Here each of them is a task; the table
//! keeps upstream's numbers, types and words (flare-protocol.md 4.9).

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io::Write as _;
use std::rc::Rc;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::clock::unix_seconds;

/// Thread types below 16, which belong to nodes.
pub(crate) mod kind {
    pub(crate) const REQUEST: i32 = 1;
    pub(crate) const ALARM: i32 = 2;
    pub(crate) const RECONSTRUCTION: i32 = 3;
    pub(crate) const CLUSTER_REPLICATION: i32 = 5;
    pub(crate) const DUMP_REPLICATION: i32 = 6;
}

/// What a thread shows of its queue: length and when its oldest item was put in (Unix seconds).
pub(crate) trait Backlog {
    fn length(&self) -> usize;
    fn oldest(&self) -> Option<u64>;
}

/// One row of the table.
pub(crate) struct Thread {
    pub(crate) id: u32,
    kind: i32,
    peer: String,
    /// Unix seconds; 0 for the alarm thread, whose uptime is therefore the time of day.
    started: u64,
    op: Cell<&'static str>,
    state: Cell<&'static str>,
    backlog: Option<Rc<dyn Backlog>>,
    killed: Cell<bool>,
    interrupt: Notify,
    /// Set by `kill`, except for a thread with a queue, and when the node stops.
    pub(crate) stop: CancellationToken,
}

impl Thread {
    /// What it does now: a state word and the request it is about.
    pub(crate) fn does(&self, state: &'static str, op: &'static str) {
        self.state.set(state);
        self.op.set(op);
    }

    pub(crate) fn waits(&self) {
        self.does("wait", "");
    }

    /// What `kill` does. A thread with a queue ends when it is done with the request that it is at,
    /// and has one try less for that with each `kill`, as upstream's: a signal ends its wait.
    fn kill(&self) {
        self.state.set("killed");
        if self.backlog.is_none() {
            self.stop.cancel();
            return;
        }
        self.killed.set(true);
        self.interrupt.notify_one();
    }

    /// Whether `kill` came, for a thread with a queue.
    pub(crate) fn is_killed(&self) -> bool {
        self.killed.get()
    }

    /// Returns when `kill` comes, for a thread with a queue.
    pub(crate) async fn interrupted(&self) {
        self.interrupt.notified().await;
    }

    fn write(&self, out: &mut Vec<u8>) {
        let (length, behind) = self.backlog.as_ref().map_or((0, 0), |backlog| {
            let behind = backlog.oldest().map_or(0, |at| unix_seconds().saturating_sub(at));
            (backlog.length(), behind)
        });
        let id = self.id;
        write!(
            out,
            "STAT {id}:type {}\r\nSTAT {id}:peer {}\r\nSTAT {id}:op {}\r\nSTAT {id}:uptime {}\r\n\
             STAT {id}:state {}\r\nSTAT {id}:info \r\nSTAT {id}:queue {length}\r\n\
             STAT {id}:behind {behind}\r\n",
            self.kind,
            self.peer,
            self.op.get(),
            unix_seconds().saturating_sub(self.started),
            self.state.get(),
        )
        .expect("writing to memory does not fail");
    }
}

/// All threads of a node, by type, then number.
pub(crate) struct Threads {
    rows: RefCell<BTreeMap<(i32, u32), Rc<Thread>>>,
    last: Cell<u32>,
}

/// Keeps a row in the table for as long as it lives.
pub(crate) struct Running {
    threads: Rc<Threads>,
    thread: Rc<Thread>,
}

impl std::ops::Deref for Running {
    type Target = Rc<Thread>;

    fn deref(&self) -> &Rc<Thread> {
        &self.thread
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.threads.rows.borrow_mut().remove(&(self.thread.kind, self.thread.id));
    }
}

impl Default for Threads {
    /// With the clock thread, which is always there.
    fn default() -> Self {
        let threads = Self { rows: RefCell::default(), last: Cell::new(0) };
        threads.insert(kind::ALARM, ":0".to_owned(), None);
        threads
    }
}

impl Threads {
    /// A new row; `peer` is `host:port`, or `:0` without one.
    pub(crate) fn add(
        self: &Rc<Self>,
        kind: i32,
        peer: String,
        backlog: Option<Rc<dyn Backlog>>,
    ) -> Running {
        let thread = self.insert(kind, peer, backlog);
        Running { threads: Rc::clone(self), thread }
    }

    fn insert(&self, kind: i32, peer: String, backlog: Option<Rc<dyn Backlog>>) -> Rc<Thread> {
        self.last.set(self.last.get() + 1);
        let thread = Rc::new(Thread {
            id: self.last.get(),
            kind,
            peer,
            started: if kind == kind::ALARM { 0 } else { unix_seconds() },
            op: Cell::new(""),
            state: Cell::new("wait"),
            backlog,
            killed: Cell::new(false),
            interrupt: Notify::new(),
            stop: CancellationToken::new(),
        });
        self.rows.borrow_mut().insert((kind, thread.id), Rc::clone(&thread));
        thread
    }

    pub(crate) fn count(&self) -> usize {
        self.rows.borrow().len()
    }

    pub(crate) fn count_of(&self, kind: i32) -> usize {
        self.of(kind).len()
    }

    pub(crate) fn of(&self, kind: i32) -> Vec<Rc<Thread>> {
        let rows = self.rows.borrow();
        rows.range((kind, 0)..=(kind, u32::MAX)).map(|(_, thread)| Rc::clone(thread)).collect()
    }

    /// Sum of the queues.
    pub(crate) fn queued(&self) -> usize {
        let rows = self.rows.borrow();
        let backlogs = rows.values().filter_map(|thread| thread.backlog.as_ref());
        backlogs.map(|backlog| backlog.length()).sum()
    }

    /// Ends a thread; false if there is none of that number.
    pub(crate) fn kill(&self, id: u32) -> bool {
        let mut rows = self.rows.borrow_mut();
        let found = rows.values().find(|thread| thread.id == id);
        let known = found.inspect(|thread| thread.kill()).is_some();
        // no task stands behind the clock's row that would take it away
        rows.remove(&(kind::ALARM, id));
        known
    }

    /// The rows of the given types, or of all, as `STAT` lines.
    pub(crate) fn write(&self, out: &mut Vec<u8>, kinds: Option<&[i32]>) {
        let rows = self.rows.borrow();
        let shown = |kind: &i32| kinds.is_none_or(|kinds| kinds.contains(kind));
        rows.values().filter(|thread| shown(&thread.kind)).for_each(|thread| thread.write(out));
    }
}
