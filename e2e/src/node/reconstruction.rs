//! Copying a partition from its master, or a new partition from all masters, and the report that
//! ends it (flare-protocol.md 6.2, 6.3).

use std::io;
use std::rc::Rc;

use tokio::task::spawn_local;

use super::clock::absolute_expire;
use super::cluster::{Copy, Target, Work};
use super::core::Node;
use super::faults::Report;
use super::index::report;
use super::storage::{Entry, Verb};
use super::threads::{Running, kind};
use super::wire::{CONNECT_ATTEMPTS, Outgoing};
use super::words::{Words, plain_u64};

/// Does what a new map asks for. Copies go on in the background; a node that gives up its role
/// for want of a master says so before its `node sync` is answered.
pub(crate) async fn begin(node: &Rc<Node>, work: Work) {
    match work {
        Work::Nothing => {}
        Work::BecomeProxy => {
            report(node, Report::Proxy).await;
        }
        Work::Copy(copy) => start(node, &copy),
    }
}

fn start(node: &Rc<Node>, copy: &Copy) {
    let (interval, bwlimit) = {
        let settings = node.settings.borrow();
        let limit = settings.number("reconstruction-bwlimit");
        (settings.number("reconstruction-interval"), limit)
    };
    // a new master shares the bandwidth among its sources
    let limit = match copy.as_master {
        Some(count) if bwlimit > 0 => (bwlimit / count.max(1) as u64).max(1),
        _ => bwlimit,
    };
    let mut request = format!("dump {interval} {} {}", copy.partition, copy.size);
    if limit > 0 {
        request.push_str(&format!(" {limit}"));
    }
    request.push_str("\r\n");
    if copy.as_master.is_some() {
        let outstanding = &node.outstanding_sources;
        outstanding.set(outstanding.get() + copy.sources.len());
    }
    for source in &copy.sources {
        let peer = format!("{}:{}", source.host, source.port);
        let thread = node.threads.add(kind::RECONSTRUCTION, peer, None);
        let (node, source, request) = (Rc::clone(node), source.clone(), request.clone());
        let as_master = copy.as_master.is_some();
        spawn_local(run(node, thread, source, request, as_master));
    }
}

async fn run(node: Rc<Node>, thread: Running, source: Target, request: String, as_master: bool) {
    // kept open until the report is through, as upstream does
    let result = copy(&node, &thread, &source, &request).await;
    if let Err(error) = &result {
        tracing::warn!(node = node.key, source = source.key, %error, "copy failed");
        report(&node, Report::Proxy).await;
        return;
    }
    if !as_master {
        report(&node, Report::Active).await;
        return;
    }
    let left = node.outstanding_sources.get() - 1;
    node.outstanding_sources.set(left);
    if left == 0 {
        report(&node, Report::Ready).await;
    }
}

/// The connection is returned so that it stays open while the report is sent.
async fn copy(
    node: &Node,
    thread: &Running,
    source: &Target,
    request: &str,
) -> io::Result<Outgoing> {
    thread.does("connect", "");
    let open = Outgoing::open(&source.host, source.port, CONNECT_ATTEMPTS, node.read_timeout());
    let mut connection = unless_stopped(thread, open).await?;
    thread.does("execute", "dump");
    if node.faults.fails_copy() {
        return Err(io::Error::other("failed on demand"));
    }
    unless_stopped(thread, connection.send(request.as_bytes())).await?;
    loop {
        let line = unless_stopped(thread, connection.line()).await?;
        if line == b"END" {
            return Ok(connection);
        }
        let (mut entry, size) =
            value_line(&line).ok_or_else(|| io::Error::other(String::from_utf8_lossy(&line)))?;
        entry.data = unless_stopped(thread, connection.block(size)).await?;
        unless_stopped(thread, async {
            node.faults.while_silent().await;
            node.faults.before_entry().await;
            Ok(())
        })
        .await?;
        let stored = node.storage.borrow_mut().store(Verb::Import, entry);
        if let Err(error) = stored {
            // upstream goes on with the next, and reports a complete copy
            tracing::error!(node = node.key, %error, "an entry was not copied");
        }
        if thread.stop.is_cancelled() {
            // upstream takes a copy that is ended between two entries for a complete one
            return Ok(connection);
        }
    }
}

/// The result, or an error once the thread is told to stop.
async fn unless_stopped<T>(
    thread: &Running,
    work: impl Future<Output = io::Result<T>>,
) -> io::Result<T> {
    tokio::select! {
        biased;
        result = work => result,
        () = thread.stop.cancelled() => Err(io::ErrorKind::Interrupted.into()),
    }
}

/// `VALUE <key> <flag> <size> <version> <expire>`: the entry without its data, and its size.
fn value_line(line: &[u8]) -> Option<(Entry, usize)> {
    let mut words = Words::new(line);
    if words.word(usize::MAX) != b"VALUE" {
        return None;
    }
    let key = words.word(usize::MAX);
    let mut number = || plain_u64(words.digits());
    let flag = u32::try_from(number()?).ok()?;
    let size = usize::try_from(number()?).ok()?;
    let version = number()?;
    // taken as any other expire, although a dump has absolute ones
    let expire = absolute_expire(number()?);
    let key = bytes::Bytes::copy_from_slice(key);
    Some((Entry { key, flag, expire, version, data: bytes::Bytes::new() }, size))
}
