//! The connections of a node to the others (flare-protocol.md 1.5, 5.4): per thread type a few,
//! each a thread with a queue. A key takes one by its hash, so that its requests stay in order.
//!
//! They are made by the first request for a node, one after the other, and what else comes for it
//! meanwhile is lost: a read is a miss, a write that is passed on is refused, a copy is dropped and
//! its client told that all is well, also in sync mode. Seen on real nodes: of 900 pairs of
//! requests each, the second up to 2 ms behind the first, 125 reads missed and 127 writes were
//! refused; of 600 pairs of writes 76 copies were lost, 104 in sync mode; of 1,400 first requests
//! without a second none. A request that finds the first of two connections being made makes the
//! second, and so does whoever made the first: three from then on. They stay as long as the
//! process, through deaths of the other node and changes of its role (240 of each, with 16 writes
//! at once: nothing lost); only `kill` ends one, and the next request makes what is missing.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use super::cluster::Target;
use super::core::Node;
use super::hash::KeyHash;
use super::proxy::{Destination, Item, Queue, spawn_link};

/// The connections of a node, by thread type: whoever had the type first keeps it, without a look
/// at the host (1.5).
#[derive(Default)]
pub(crate) struct Links {
    of: RefCell<HashMap<i32, Vec<Rc<Queue>>>>,
    /// Replicated writes since the last that asked for an answer (`noreply-window-limit`).
    unanswered: Cell<u64>,
}

/// Which of `count` connections carries a key.
pub(crate) fn lane(key: &[u8], count: usize) -> usize {
    KeyHash::Murmur.of(key) as usize % count.max(1)
}

impl Links {
    /// Puts a request into the queue of a node's connection, and makes first what connections are
    /// missing; false if it cannot be queued, since others are being made or the queues are full.
    pub(crate) async fn send(node: &Rc<Node>, target: &Target, key: &[u8], item: Item) -> bool {
        let (limit, concurrency) = {
            let settings = node.settings.borrow();
            (settings.number("max-total-thread-queue"), settings.proxy_concurrency())
        };
        if limit > 0 && node.threads.queued() as u64 >= limit {
            return false;
        }
        for _ in node.links.living(target.thread_type)..concurrency {
            let queue = Self::open(node, target);
            queue.begun().await;
        }
        let links = node.links.of.borrow();
        let queues = links.get(&target.thread_type).map(Vec::as_slice).unwrap_or_default();
        queues.get(lane(key, queues.len())).is_some_and(|queue| queue.push(item))
    }

    fn living(&self, thread_type: i32) -> usize {
        let mut links = self.of.borrow_mut();
        let queues = links.entry(thread_type).or_default();
        queues.retain(|queue| !queue.is_closed());
        queues.len()
    }

    fn open(node: &Rc<Node>, target: &Target) -> Rc<Queue> {
        let destination = Destination {
            host: target.host.clone(),
            port: target.port,
            node: Some(target.key.clone()),
        };
        let queue = spawn_link(node, target.thread_type, destination);
        let mut links = node.links.of.borrow_mut();
        links.entry(target.thread_type).or_default().push(Rc::clone(&queue));
        queue
    }

    /// Whether the next replicated write goes out with `noreply` (5.4).
    pub(crate) fn takes_no_reply(&self, window: u64) -> bool {
        if window == 0 {
            return false;
        }
        let silent = self.unanswered.get() < window;
        self.unanswered.set(if silent { self.unanswered.get() + 1 } else { 0 });
        silent
    }
}
