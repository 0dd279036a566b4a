//! Executing the commands that read and write entries: here, or at the node that owns the key
//! (flare-protocol.md 5).

use std::rc::Rc;

use bytes::Bytes;
use rand::RngExt;
use tokio::sync::oneshot;

use super::cluster::{ReadRoute, Target, WriteRoute};
use super::command::Write;
use super::core::Node;
use super::counters::count;
use super::links::Links;
use super::proxy::{Expect, Item, PROXY_READ, PROXY_WRITE};
use super::replication::{prefixed, replicate, with_prefix};
use super::storage::{Entry, Outcome, StorageError, Verb};

const NO_PARTITION: &[u8] = b"SERVER_ERROR no partition available\r\n";
const PROXY_FAILURE: &[u8] = b"SERVER_ERROR proxy failure\r\n";
const PROXY_ERROR: &[u8] = b"SERVER_ERROR proxy error\r\n";
const IO_ERROR: &[u8] = b"SERVER_ERROR i/o error\r\n";

/// Where the answer for one key comes from.
enum Source {
    Here,
    Peer(oneshot::Receiver<Vec<u8>>),
    Miss,
}

/// `get` and `gets`: all keys are asked for at once, the answer keeps their order.
pub(crate) async fn get(node: &Rc<Node>, keys: &[Bytes], versions: bool) -> Vec<u8> {
    let op = if versions { "gets" } else { "get" };
    let request = |key: &Bytes| [op.as_bytes(), b" ", key, b"\r\n"].concat();
    let mut sources = Vec::with_capacity(keys.len());
    for key in keys {
        sources.push(source(node, key, request(key)).await);
    }
    let mut out = Vec::new();
    for (key, source) in keys.iter().zip(sources) {
        match source {
            Source::Here => local_value(node, key, versions, &mut out),
            Source::Peer(answer) => {
                let block = answer.await.unwrap_or_default();
                let counters = &node.counters;
                let found = !block.is_empty();
                count(if found { &counters.get_hits } else { &counters.get_misses });
                out.extend(block);
            }
            Source::Miss => count(&node.counters.get_misses),
        }
    }
    out.extend_from_slice(b"END\r\n");
    out
}

async fn source(node: &Rc<Node>, key: &Bytes, request: Vec<u8>) -> Source {
    count(&node.counters.cmd_get);
    let (item, answer) = Item::new(PROXY_READ, request, Expect::List).answered();
    let queued = if node.replication.forwards() {
        node.replication.send(key, item)
    } else {
        let route = node.cluster.borrow_mut().read_route(key);
        match route {
            ReadRoute::Local => return Source::Here,
            ReadRoute::Miss => return Source::Miss,
            ReadRoute::Forward(readers) => Links::send(node, choose(&readers), key, item).await,
        }
    };
    if queued { Source::Peer(answer) } else { Source::Miss }
}

/// One of the readers, by weight; there is at least one.
fn choose(readers: &[(Target, u32)]) -> &Target {
    let total: u64 = readers.iter().map(|(_, weight)| u64::from(*weight)).sum();
    let mut left = rand::rng().random_range(0..total);
    for (target, weight) in readers {
        match left.checked_sub(u64::from(*weight)) {
            Some(rest) => left = rest,
            None => return target,
        }
    }
    &readers[0].0
}

fn local_value(node: &Node, key: &Bytes, versions: bool, out: &mut Vec<u8>) {
    match node.storage.borrow_mut().get(key) {
        Ok(Some(entry)) => {
            count(&node.counters.get_hits);
            value_block(&entry, versions, out);
        }
        Ok(None) => count(&node.counters.get_misses),
        Err(error) => tracing::error!(node = node.key, %error, "read failed"),
    }
}

fn value_block(entry: &Entry, versions: bool, out: &mut Vec<u8>) {
    out.extend_from_slice(b"VALUE ");
    out.extend_from_slice(&entry.key);
    out.extend_from_slice(format!(" {} {}", entry.flag, entry.data.len()).as_bytes());
    if versions {
        out.extend_from_slice(format!(" {}", entry.version).as_bytes());
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(&entry.data);
    out.extend_from_slice(b"\r\n");
}

/// `keys`: each prefix is routed as if it were a key.
pub(crate) async fn keys(node: &Rc<Node>, prefixes: &[Bytes], limit: usize) -> Vec<u8> {
    let tree = node.settings.borrow().text("storage-type") == "tcb";
    let mut out = Vec::new();
    for prefix in prefixes {
        let request = [b"keys ", &prefix[..], format!(" {limit}\r\n").as_bytes()].concat();
        match source(node, prefix, request).await {
            Source::Here if !tree => {
                return b"SERVER_ERROR not available on current storage type\r\n".to_vec();
            }
            Source::Here => {
                for key in node.storage.borrow().keys(prefix, limit) {
                    out.extend_from_slice(&[b"KEY ", &key[..], b"\r\n"].concat());
                }
            }
            Source::Peer(answer) => out.extend(answer.await.unwrap_or_default()),
            Source::Miss => {}
        }
    }
    out.extend_from_slice(b"END\r\n");
    out
}

/// Any command that changes an entry. The answer is empty with `noreply`, except for failures to
/// find somebody to execute it.
pub(crate) async fn write(node: &Rc<Node>, prefix: &[String], write: Write) -> Vec<u8> {
    if matches!(write, Write::Store { .. } | Write::Touch { .. }) {
        count(&node.counters.cmd_set);
    }
    let request = write.encode();
    if node.replication.forwards() {
        // with the prefix that it came with, without this node's own
        let request = with_prefix(prefix, forwarded_elsewhere(&write).unwrap_or(request));
        let (item, answer) = passed_on(&write, request);
        let queued = node.replication.send(write.key(), item);
        return await_answer(&write, queued.then_some(answer)).await;
    }
    let route = node.cluster.borrow_mut().write_route(write.key(), !prefix.is_empty());
    match route {
        WriteRoute::NoPartition => NO_PARTITION.to_vec(),
        WriteRoute::NoMaster => PROXY_FAILURE.to_vec(),
        WriteRoute::Forward(master) => {
            let (item, answer) = passed_on(&write, prefixed(prefix, &node.key, &request));
            let queued = Links::send(node, &master, write.key(), item).await;
            await_answer(&write, queued.then_some(answer)).await
        }
        WriteRoute::Local => {
            let noreply = write.options().noreply;
            let (answer, result) = match execute(node, &write) {
                Ok(done) => done,
                Err(error) => {
                    tracing::error!(node = node.key, %error, "write failed");
                    return IO_ERROR.to_vec();
                }
            };
            if let Some(result) = result {
                node.faults.before_copies().await;
                node.replication.duplicate(node, prefix, &result);
                replicate(node, prefix, result).await;
            }
            if noreply { Vec::new() } else { answer }
        }
    }
}

/// In forward mode upstream loses the amount of `incr` and `decr`.
fn forwarded_elsewhere(write: &Write) -> Option<Vec<u8>> {
    let Write::Count { key, up, options, .. } = write else { return None };
    let without = Write::Count { key: key.clone(), amount: 0, up: *up, options: *options };
    Some(without.encode())
}

fn passed_on(write: &Write, request: Vec<u8>) -> (Item, oneshot::Receiver<Vec<u8>>) {
    let expect = match write {
        Write::Touch { get: true, .. } => Expect::Value,
        _ if write.options().noreply => Expect::Nothing,
        _ => Expect::Line,
    };
    Item::new(PROXY_WRITE, request, expect).answered()
}

async fn await_answer(write: &Write, answer: Option<oneshot::Receiver<Vec<u8>>>) -> Vec<u8> {
    match answer {
        None => PROXY_FAILURE.to_vec(),
        Some(_) if write.options().noreply => Vec::new(),
        Some(answer) => answer.await.unwrap_or_else(|_| PROXY_ERROR.to_vec()),
    }
}

/// Executes a write here: the answer, and what the copies get if it changed something.
fn execute(node: &Node, write: &Write) -> Result<(Vec<u8>, Option<Write>), StorageError> {
    let mut storage = node.storage.borrow_mut();
    let counters = &node.counters;
    Ok(match write {
        Write::Store { verb, entry, .. } => {
            let stored = storage.store(*verb, entry.clone())?;
            if *verb == Verb::Cas {
                count(match stored {
                    Outcome::Stored(_) => &counters.cas_hits,
                    Outcome::Exists => &counters.cas_badval,
                    _ => &counters.cas_misses,
                });
            }
            match stored {
                Outcome::Stored(entry) => {
                    count(&counters.total_items);
                    (b"STORED\r\n".to_vec(), Some(write.result(entry)))
                }
                Outcome::NotStored => (b"NOT_STORED\r\n".to_vec(), None),
                Outcome::Exists => (b"EXISTS\r\n".to_vec(), None),
                Outcome::NotFound => (b"NOT_FOUND\r\n".to_vec(), None),
            }
        }
        Write::Delete { key, expire, version, options } => {
            let Some(version) = storage.remove(key, *expire, *version)? else {
                count(&counters.delete_misses);
                return Ok((b"NOT_FOUND\r\n".to_vec(), None));
            };
            count(&counters.delete_hits);
            let (key, expire, options) = (key.clone(), *expire, *options);
            let result = Write::Delete { key, expire, version, options };
            (b"DELETED\r\n".to_vec(), Some(result))
        }
        Write::Count { key, amount, up, .. } => {
            let (hits, misses) = if *up {
                (&counters.incr_hits, &counters.incr_misses)
            } else {
                (&counters.decr_hits, &counters.decr_misses)
            };
            let Some(entry) = storage.count(key, *amount, *up)? else {
                count(misses);
                return Ok((b"NOT_FOUND\r\n".to_vec(), None));
            };
            count(hits);
            ([&entry.data[..], b"\r\n"].concat(), Some(write.result(entry)))
        }
        Write::Touch { key, expire, get, .. } => {
            let Some(entry) = storage.touch(key, *expire)? else {
                if !get {
                    count(&counters.touch_misses);
                }
                return Ok((b"NOT_FOUND\r\n".to_vec(), None));
            };
            let mut answer = Vec::new();
            if *get {
                value_block(&entry, false, &mut answer);
            } else {
                count(&counters.touch_hits);
                answer.extend_from_slice(b"TOUCHED\r\n");
            }
            (answer, Some(write.result(entry)))
        }
    })
}
