//! One connection of a node to the relay: its reads go on to the old master, and from its first
//! write on what it sends is held, then passed on unchanged.
//!
//! The relay looks at nothing but how a request begins: reads come without a prefix
//! (flare-protocol.md 5.1). What it holds it keeps as it came, in its order, and hands answers
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

/// How the requests begin that change nothing.
const READS: [&[u8]; 3] = [b"get ", b"gets ", b"keys "];

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

/// How the bytes begin that a node sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Beginning {
    /// A read, of so many bytes.
    Read(usize),
    /// Perhaps a read.
    Unclear,
    /// Something that must wait.
    Other,
}

/// Passes reads on, then holds what comes until the release, then passes everything on, both ways,
/// until either side or the relay ends it.
///
/// # Errors
/// When either connection breaks; the node sees its connection end and counts the request failed.
pub(crate) async fn serve(
    mut node: Box<dyn Stream>,
    mut phase: watch::Receiver<Phase>,
    (network, reads_to): (Rc<dyn Network>, SocketAddr),
) -> io::Result<()> {
    let mut held = BytesMut::new();
    if !pass_reads(&mut node, &mut held, &mut phase, (&*network, reads_to)).await? {
        return Ok(());
    }
    let Some(target) = hold(&mut node, &mut held, &mut phase).await? else { return Ok(()) };
    let mut master = network.connect(target).await?;
    master.write_all(&held).await?;
    drop(held);
    tokio::select! {
        passed = copy_bidirectional(&mut node, &mut master) => passed.map(|_| ()),
        _ = phase.wait_for(|phase| *phase == Phase::Closed) => Ok(()),
    }
}

/// Passes reads on to the old master, and its answers back, until something else comes, which is
/// then in `held`; all reads have been answered by then. `false` when the node or the relay ended
/// first.
async fn pass_reads(
    node: &mut Box<dyn Stream>,
    held: &mut BytesMut,
    phase: &mut watch::Receiver<Phase>,
    (network, reads_to): (&dyn Network, SocketAddr),
) -> io::Result<bool> {
    let mut master: Option<Box<dyn Stream>> = None;
    let mut answer = BytesMut::new();
    loop {
        match beginning(held) {
            Beginning::Read(length) => {
                if master.is_none() {
                    master = Some(network.connect(reads_to).await?);
                }
                if let Some(master) = &mut master {
                    master.write_all(&held.split_to(length)).await?;
                }
                continue;
            }
            Beginning::Other => return Ok(true),
            Beginning::Unclear => {}
        }
        held.reserve(READ_BYTES);
        answer.reserve(READ_BYTES);
        let answered = async {
            match &mut master {
                Some(master) => master.read_buf(&mut answer).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            read = node.read_buf(held) => {
                if read? == 0 {
                    return Ok(false);
                }
            }
            read = answered => {
                if read? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                node.write_all(&answer).await?;
                answer.clear();
            }
            _ = phase.wait_for(|phase| *phase == Phase::Closed) => return Ok(false),
        }
    }
}

fn beginning(sent: &[u8]) -> Beginning {
    if !READS.iter().any(|read| sent.iter().zip(*read).all(|(byte, wanted)| byte == wanted)) {
        return Beginning::Other;
    }
    match sent.iter().position(|byte| *byte == b'\n') {
        Some(end) => Beginning::Read(end + 1),
        None if sent.len() < HELD_BYTES_MAX => Beginning::Unclear,
        None => Beginning::Other,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_reads_are_passed_on() {
        for (sent, begins) in [
            ("", Beginning::Unclear),
            ("g", Beginning::Unclear),
            ("get", Beginning::Unclear),
            ("get k", Beginning::Unclear),
            ("get k\r\nget l", Beginning::Read(7)),
            ("gets k\r\n", Beginning::Read(8)),
            ("keys k 1\r\n<a:1>", Beginning::Read(10)),
            ("<a:1>get", Beginning::Other),
            ("set k 0 0 1\r\n", Beginning::Other),
            ("gat k\r\n", Beginning::Other),
            ("getx\r\n", Beginning::Other),
        ] {
            assert_eq!(beginning(sent.as_bytes()), begins, "{sent:?}");
        }
    }
}
