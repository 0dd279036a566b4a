//! One connection of a node to the relay: its reads go on to the old master, and from its first
//! write on what it sends is held, then passed on unchanged.
//!
//! The relay looks at nothing but how a request begins. What it holds it keeps as it came, in its
//! order, and hands answers back as they come. A node keeps several requests on one connection,
//! each answered in turn (flare-protocol.md 5.4), so bytes in order are all that is needed.
//! Whatever a connection waits for, it ends with the relay.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use bytes::{BufMut, BytesMut};
use flare_core::protocol::relayed::{Beginning, beginning};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::sync::watch;

use super::HELD_BYTES_MAX;
use crate::net::{Network, Stream};

/// How much of an answer is read at once.
const ANSWER_BYTES: usize = 4 << 10;

/// How long a connection to the new master counts as being opened when no answer comes on it.
const ANSWER_PATIENCE: Duration = Duration::from_millis(250);

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

/// A connection whose requests may go on now, and some of them.
pub(super) struct Held {
    node: Box<dyn Stream>,
    requests: BytesMut,
    target: SocketAddr,
    phase: watch::Receiver<Phase>,
}

/// A connection whose requests have gone on, and what was answered.
pub(super) struct Passing {
    node: Box<dyn Stream>,
    master: Box<dyn Stream>,
    answer: BytesMut,
    phase: watch::Receiver<Phase>,
}

/// Passes reads on, then holds what comes until the release. `None` when the node or the relay
/// ended first.
///
/// # Errors
/// When a connection breaks; the node sees its own end and counts the request failed.
pub(super) async fn hold(
    mut node: Box<dyn Stream>,
    phase: watch::Receiver<Phase>,
    (network, reads_to): (Rc<dyn Network>, SocketAddr),
) -> io::Result<Option<Held>> {
    let mut released = phase.clone();
    let held = async {
        let mut requests = BytesMut::new();
        if !pass_reads(&mut node, &mut requests, (&*network, reads_to)).await? {
            return Ok(None);
        }
        let target = wait_for_release(&mut node, &mut requests, &mut released).await?;
        Ok(target.map(|target| (requests, target)))
    };
    let held = until_closed(phase.clone(), held).await?.flatten();
    Ok(held.map(|(requests, target)| Held { node, requests, target, phase }))
}

/// Connects to the new master and sends it what was held, and the rest of a request of which only
/// the beginning had come; waits for its answer, but not for long.
///
/// # Errors
/// As [`hold`].
pub(super) async fn hand_over(held: Held, network: Rc<dyn Network>) -> io::Result<Option<Passing>> {
    let Held { mut node, mut requests, target, phase } = held;
    let handed = async {
        let mut master = network.connect(target).await?;
        let mut answer = BytesMut::with_capacity(ANSWER_BYTES);
        let patience = tokio::time::sleep(ANSWER_PATIENCE);
        tokio::pin!(patience);
        loop {
            master.write_all(&requests).await?;
            requests.clear();
            tokio::select! {
                read = master.read_buf(&mut answer) => match read? {
                    0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                    _ => break,
                },
                read = read_some(&mut node, &mut requests) => if read? == 0 { break },
                () = &mut patience => break,
            }
        }
        Ok((node, master, answer))
    };
    let handed = until_closed(phase.clone(), handed).await?;
    Ok(handed.map(|(node, master, answer)| Passing { node, master, answer, phase }))
}

/// Passes everything on, both ways, until either side or the relay ends it.
///
/// # Errors
/// As [`hold`].
pub(super) async fn pass_on(passing: Passing) -> io::Result<()> {
    let Passing { mut node, mut master, answer, phase } = passing;
    let passed = async {
        node.write_all(&answer).await?;
        drop(answer);
        copy_bidirectional(&mut node, &mut master).await
    };
    until_closed(phase, passed).await.map(|_| ())
}

/// What is done, unless the relay ends before.
async fn until_closed<T>(
    mut phase: watch::Receiver<Phase>,
    what: impl Future<Output = io::Result<T>>,
) -> io::Result<Option<T>> {
    tokio::select! {
        done = what => done.map(Some),
        _ = phase.wait_for(|phase| *phase == Phase::Closed) => Ok(None),
    }
}

/// Passes reads on to the old master, and its answers back, until something else comes, which is
/// then in `held`; all reads have been answered by then. `false` when the node ended first.
async fn pass_reads(
    node: &mut Box<dyn Stream>,
    held: &mut BytesMut,
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
            Beginning::Unclear if held.len() < HELD_BYTES_MAX => {}
            Beginning::Unclear | Beginning::Other => return Ok(true),
        }
        let answered = async {
            match &mut master {
                Some(master) => {
                    answer.reserve(ANSWER_BYTES);
                    master.read_buf(&mut answer).await
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            read = read_some(node, held) => {
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
        }
    }
}

/// Reads until the release; `None` when the node or the relay ended first.
async fn wait_for_release(
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
        tokio::select! {
            read = read_some(node, held), if room => {
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

/// Reads what has come, as far as it may be held.
async fn read_some(node: &mut Box<dyn Stream>, held: &mut BytesMut) -> io::Result<usize> {
    let room = HELD_BYTES_MAX - held.len();
    node.read_buf(&mut held.limit(room)).await
}
