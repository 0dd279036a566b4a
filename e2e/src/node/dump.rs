//! Serving `dump` and `dump_key`: local entries, whatever the node's role, one such request at a
//! time (flare-protocol.md 4.7).

use std::io::Write as _;

use super::command::Dump;
use super::core::Iteration;
use super::session::{End, Session};
use super::storage::Entry;
use super::throttle::Throttle;

/// Sends the entries, then how it ended.
pub(crate) async fn serve(session: &mut Session, dump: &Dump) -> Result<(), End> {
    let node = std::rc::Rc::clone(&session.node);
    let Some(iteration) = Iteration::begin(&node) else {
        return session.send(b"SERVER_ERROR database busy\r\n").await;
    };
    let mut throttle = Throttle::new(dump.wait_micros, dump.bwlimit);
    let mut place = 0;
    while let Some((next, entry)) = node.entry_after(place) {
        place = next;
        if let Some((partition, size)) = dump.filter
            && node.cluster.borrow_mut().partition(&entry.key, size) != Some(partition)
        {
            continue;
        }
        let line = if dump.keys_only {
            [b"KEY ", &entry.key[..], b"\r\n"].concat()
        } else {
            // reading a dead entry removes it, here as anywhere
            let living = node.storage.borrow_mut().get(&entry.key);
            match living {
                Ok(Some(entry)) => block(&entry),
                Ok(None) => continue,
                Err(error) => {
                    tracing::error!(node = node.key, %error, "dump failed");
                    return session.send(b"SERVER_ERROR iteration canceled\r\n").await;
                }
            }
        };
        node.faults.while_silent().await;
        session.send(&line).await?;
        tokio::select! {
            () = throttle.after(line.len()) => {}
            () = session.thread.stop.cancelled() => {}
        }
        if session.thread.stop.is_cancelled() {
            return session.send(b"SERVER_ERROR operation interrupted\r\n").await;
        }
        if iteration.is_canceled() {
            return session.send(b"SERVER_ERROR iteration canceled\r\n").await;
        }
    }
    session.send(b"END\r\n").await
}

fn block(entry: &Entry) -> Vec<u8> {
    let mut out = Vec::with_capacity(entry.key.len() + entry.data.len() + 64);
    out.extend_from_slice(b"VALUE ");
    out.extend_from_slice(&entry.key);
    let Entry { flag, version, expire, .. } = entry;
    write!(out, " {flag} {} {version} {expire}\r\n", entry.data.len())
        .expect("writing to memory does not fail");
    out.extend_from_slice(&entry.data);
    out.extend_from_slice(b"\r\n");
    out
}
