//! Taking connections from a listening socket, with a pause after an error: the process is out of
//! files then, or the kernel out of memory, and trying harder helps neither.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::Sleep;

use crate::net::{Listener, Stream};

/// The pause after an error, which doubles up to the longest.
const PAUSE: Duration = Duration::from_millis(10);
/// See [`PAUSE`].
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// A listening socket.
pub(crate) struct Acceptor {
    socket: Box<dyn Listener>,
    pause: Duration,
    /// No accept before this has passed.
    pausing: Option<Pin<Box<Sleep>>>,
}

/// A connection and the address of its other end.
pub(crate) type Accepted = (Box<dyn Stream>, SocketAddr);

/// No connection could be taken; the next attempt is made after the pause.
pub(crate) struct AcceptFailed {
    pub(crate) error: io::Error,
    pub(crate) pause: Duration,
}

impl Acceptor {
    pub(crate) fn new(socket: Box<dyn Listener>) -> Self {
        Self { socket, pause: PAUSE, pausing: None }
    }

    /// The next connection, or why there is none for now.
    pub(crate) fn poll_accept(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Accepted, AcceptFailed>> {
        loop {
            if let Some(pausing) = &mut self.pausing {
                ready!(pausing.as_mut().poll(cx));
                self.pausing = None;
            }
            match ready!(self.socket.poll_accept(cx)) {
                Ok(accepted) => {
                    self.pause = PAUSE;
                    return Poll::Ready(Ok(accepted));
                }
                // One that hung up while it was queued says nothing about the next.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    let pause = self.pause;
                    self.pausing = Some(Box::pin(tokio::time::sleep(pause)));
                    self.pause = (pause * 2).min(PAUSE_MAX);
                    return Poll::Ready(Err(AcceptFailed { error, pause }));
                }
            }
        }
    }
}
