//! One connection of a node to the relay: what it sends is held, then passed on unchanged.
//!
//! The relay reads no request: it keeps the bytes as they came, in their order, and hands answers
//! back as they come. A node keeps several requests on one connection, each answered in turn
//! (flare-protocol.md 5.4), so bytes in order are all that is needed.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::sync::watch;

use crate::net::{Network, Stream};

/// What one connection may hold; beyond it the node is not read from until the release, which
/// makes it wait, and loses nothing.
pub const HELD_BYTES_MAX: usize = 1 << 20;

/// How much is read at once.
const READ_BYTES: usize = 16 << 10;

/// What the relay does with its connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Writes wait.
    Holding,
    /// They go on to the node at this address.
    Released(SocketAddr),
    /// Whatever is left fails, unacknowledged.
    Closed,
}

/// Holds what comes until the release, then passes everything on, both ways, until either side or
/// the relay ends it.
///
/// # Errors
/// When either connection breaks; the node sees its connection end and counts the request failed.
pub(crate) async fn serve(
    mut node: Box<dyn Stream>,
    mut phase: watch::Receiver<Phase>,
    network: Rc<dyn Network>,
) -> io::Result<()> {
    let mut held = BytesMut::new();
    let Some(target) = hold(&mut node, &mut held, &mut phase).await? else { return Ok(()) };
    let mut master = network.connect(target).await?;
    master.write_all(&held).await?;
    drop(held);
    tokio::select! {
        passed = copy_bidirectional(&mut node, &mut master) => passed.map(|_| ()),
        _ = phase.wait_for(|phase| *phase == Phase::Closed) => Ok(()),
    }
}

/// Reads until the release; `None` when the node or the relay ended first.
async fn hold(
    node: &mut Box<dyn Stream>,
    held: &mut BytesMut,
    phase: &mut watch::Receiver<Phase>,
) -> io::Result<Option<SocketAddr>> {
    loop {
        match *phase.borrow_and_update() {
            Phase::Holding => {}
            Phase::Released(target) => return Ok(Some(target)),
            Phase::Closed => return Ok(None),
        }
        let room = held.len() < HELD_BYTES_MAX;
        held.reserve(READ_BYTES);
        tokio::select! {
            read = node.read_buf(held), if room => {
                if read? == 0 {
                    return Ok(None);
                }
            }
            changed = phase.changed() => {
                if changed.is_err() {
                    return Ok(None);
                }
            }
        }
    }
}
