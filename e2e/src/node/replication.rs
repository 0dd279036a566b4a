//! Copies of local writes: to the partition's slaves and to a preparing master
//! (flare-protocol.md 5.3), and to another cluster (8).

use std::cell::RefCell;
use std::rc::Rc;

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::task::spawn_local;

use super::cluster::Target;
use super::command::Write;
use super::core::{Iteration, Node};
use super::links::{Links, lane};
use super::map::Role;
use super::proxy::{Destination, Expect, Item, PROXY_WRITE, Queue, spawn_link};
use super::storage::{Entry, Storage};
use super::threads::{Running, kind};
use super::throttle::Throttle;
use super::wire::{CONNECT_ATTEMPTS, Outgoing};

/// Puts `<a:1,b:2>` before a request.
pub(crate) fn prefixed(prefix: &[String], me: &str, request: &[u8]) -> Vec<u8> {
    let mut out = vec![b'<'];
    for node in prefix {
        out.extend_from_slice(node.as_bytes());
        out.push(b',');
    }
    out.extend_from_slice(me.as_bytes());
    out.push(b'>');
    out.extend_from_slice(request);
    out
}

/// A request with the prefix that it came with.
pub(crate) fn with_prefix(prefix: &[String], request: Vec<u8>) -> Vec<u8> {
    match prefix.split_last() {
        Some((last, before)) => prefixed(before, last, &request),
        None => request,
    }
}

/// Sends the result of a local write on, and waits for the slaves if it is synchronous.
pub(crate) async fn replicate(node: &Rc<Node>, prefix: &[String], result: Write) {
    if prefix.iter().filter(|key| **key == node.key).count() >= 2 {
        return;
    }
    let key = result.key().clone();
    let copies = node.cluster.borrow_mut().copies(&key, !prefix.is_empty());
    let options = result.options();
    let window = node.settings.borrow().number("noreply-window-limit");
    let mut waiting = Vec::new();
    for target in &copies.slaves {
        let mut copy = result.clone();
        if !options.noreply && node.links.takes_no_reply(window) {
            copy.set_noreply();
        }
        waiting.extend(send_copy(node, target, prefix, &copy).await);
    }
    if node.replicates_in_sync(options.sync, options.r#async) {
        for answer in waiting {
            // given up counts as done
            let _ = answer.await;
        }
    }
    if let Some(target) = &copies.preparing {
        send_copy(node, target, prefix, &result).await;
    }
}

/// The place to wait for the answer; none if the copy was dropped.
async fn send_copy(
    node: &Rc<Node>,
    target: &Target,
    prefix: &[String],
    result: &Write,
) -> Option<oneshot::Receiver<Vec<u8>>> {
    let bytes = prefixed(prefix, &node.key, &result.encode());
    let expect = if result.options().noreply { Expect::Nothing } else { Expect::Line };
    let (item, answer) = Item::new(PROXY_WRITE, bytes, expect).answered();
    Links::send(node, target, result.key(), item).await.then_some(answer)
}

/// What goes to another cluster.
#[derive(Default)]
pub(crate) struct ClusterReplication {
    running: RefCell<Option<Outlet>>,
}

struct Outlet {
    host: String,
    port: i32,
    forward: bool,
    queues: Vec<Rc<Queue>>,
}

impl ClusterReplication {
    /// Starts, changes or stops as the settings say (flare-protocol.md 8): a changed destination
    /// begins anew, with a new dump.
    pub(crate) fn configure(node: &Rc<Node>) {
        let settings = node.settings.borrow();
        let host = settings.text("cluster-replication-server-name").to_owned();
        let port = i32::try_from(settings.number("cluster-replication-server-port")).unwrap_or(-1);
        let forward = settings.text("cluster-replication-mode") == "forward";
        let on = settings.flag("cluster-replication");
        let concurrency = settings.cluster_replication_concurrency();
        drop(settings);
        let mut running = node.replication.running.borrow_mut();
        if let Some(outlet) = running.as_mut()
            && on
            && outlet.host == host
            && outlet.port == port
        {
            outlet.forward = forward;
            return;
        }
        *running = None;
        for thread in [kind::CLUSTER_REPLICATION, kind::DUMP_REPLICATION]
            .into_iter()
            .flat_map(|kind| node.threads.of(kind))
        {
            thread.stop.cancel();
        }
        if !on {
            return;
        }
        let destination = Destination { host: host.clone(), port, node: None };
        let open = |_| spawn_link(node, kind::CLUSTER_REPLICATION, destination.clone());
        let queues = (0..concurrency).map(open).collect();
        *running = Some(Outlet { host, port, forward, queues });
        let mastered = node.cluster.borrow().mastered();
        if let Some((partition, size)) = mastered.filter(|_| !forward) {
            spawn_local(dump(Rc::clone(node), destination, partition, size));
        }
    }

    /// In forward mode: whether clients' requests go to the other cluster.
    pub(crate) fn forwards(&self) -> bool {
        self.running.borrow().as_ref().is_some_and(|outlet| outlet.forward)
    }

    /// Queues a request for the other cluster; false if its connections have ended.
    pub(crate) fn send(&self, key: &[u8], item: Item) -> bool {
        let running = self.running.borrow();
        let Some(outlet) = running.as_ref() else { return false };
        outlet.queues[lane(key, outlet.queues.len())].push(item)
    }

    /// In duplicate mode, on a master: queues the result of a local write, with the prefix that
    /// the request came with.
    pub(crate) fn duplicate(&self, node: &Node, prefix: &[String], result: &Write) {
        let duplicates = self.running.borrow().as_ref().is_some_and(|outlet| !outlet.forward);
        if !duplicates || node.cluster.borrow().my_role() != Some(Role::Master) {
            return;
        }
        let bytes = with_prefix(prefix, result.encode());
        let expect = if result.options().noreply { Expect::Nothing } else { Expect::Line };
        self.send(result.key(), Item::new(PROXY_WRITE, bytes, expect));
    }
}

/// Sends every entry of this node's partition to the other cluster, one at a time.
async fn dump(node: Rc<Node>, destination: Destination, partition: usize, size: usize) {
    let peer = format!("{}:{}", destination.host, destination.port);
    let thread = node.threads.add(kind::DUMP_REPLICATION, peer, None);
    thread.does("connect", "");
    let Destination { host, port, .. } = &destination;
    let work = async {
        let limit = node.read_timeout();
        let connection = Outgoing::open(host, *port, CONNECT_ATTEMPTS, limit).await?;
        // a dump that runs already makes this one give up for good
        let Some(_iteration) = Iteration::begin(&node) else { return Ok(()) };
        dump_entries(&node, &thread, connection, partition, size).await
    };
    tokio::select! {
        result = work => if let Err(error) = result {
            tracing::warn!(node = node.key, host, port, %error, "dump replication failed");
        },
        () = thread.stop.cancelled() => {}
    }
}

async fn dump_entries(
    node: &Rc<Node>,
    thread: &Running,
    mut connection: Outgoing,
    partition: usize,
    size: usize,
) -> std::io::Result<()> {
    thread.does("execute", "dump");
    let mut throttle = {
        let settings = node.settings.borrow();
        let wait = settings.number("reconstruction-interval");
        Throttle::new(wait, settings.number("reconstruction-bwlimit"))
    };
    let mut place = 0;
    // an expired entry is sent with the data of the one before it, as upstream does
    let mut data = Bytes::new();
    loop {
        let Some((next, entry)) = node.entry_after(place) else { return Ok(()) };
        place = next;
        if node.cluster.borrow_mut().partition(&entry.key, size) != Some(partition) {
            continue;
        }
        if !Storage::is_dead(&entry) {
            data = entry.data.clone();
        }
        let entry = Entry { data: data.clone(), ..entry };
        let request = Write::set(entry).encode();
        connection.send(&request).await?;
        connection.line().await?;
        throttle.after(request.len()).await;
    }
}
