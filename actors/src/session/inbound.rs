//! One connection that somebody opened to the index.
//!
//! The session owns the socket and its line buffer. All complete lines that have arrived are
//! answered with one write; a request that another actor must answer holds up the ones behind it,
//! as upstream answers strictly in order. An idle session holds no buffer.

use std::fmt;
use std::future::Future;
use std::io;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context as TaskContext, Poll, ready};

use actix::{Actor, ActorContext, ActorFuture, AsyncContext, Context, Handler};
use bytes::Bytes;
use flare_core::model::NodeKey;
use flare_core::protocol::{LineBuffer, LineError, Request};
use tokio::io::ReadBuf;
use tokio::time::{Instant, Sleep};
use tracing::{Instrument, Span, debug, info, info_span};

use super::outgoing::Outgoing;
use super::requests::{self, Caller, Outcome, Pending};
use super::{EndSession, GetStatus, Limits, SessionEnded, SessionHome, SessionStatus, Traffic};
use crate::logs::{self, Direction};
use crate::metrics::UNKNOWN_COMMAND;
use crate::net::Stream;
use crate::obituary::End;
use crate::overview::SessionFacts;

/// Bytes that are read at once: many pipelined requests.
const READ_SIZE: usize = 4 * 1024;

/// An accepted connection.
pub struct InboundSession {
    id: u32,
    peer: SocketAddr,
    stream: Box<dyn Stream>,
    lines: LineBuffer,
    out: Outgoing,
    /// The request that somebody else answers, with its first word.
    asked: Option<(Pending, &'static str)>,
    /// No further request is read; what has been answered is still written.
    closing: Option<Closed>,
    /// The index stops: end once nothing is in hand.
    stopping: bool,

    opened: Instant,
    last_read: Instant,
    /// Since when the peer has not taken what it was sent.
    stalled_since: Option<Instant>,
    requests: u64,
    traffic: Traffic,
    /// The node that it speaks for, once a command named one.
    node: Option<NodeKey>,

    limits: Limits,
    home: Rc<SessionHome>,
    span: Span,
    /// One timer for whatever is due first.
    timer: Pin<Box<Sleep>>,
}

/// Why a session ended.
#[derive(Debug)]
enum Closed {
    ByPeer,
    Quit,
    Killed,
    Stopping,
    Idle,
    NotReading,
    Line(LineError),
    Failed(io::Error),
}

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ByPeer => f.write_str("by the peer"),
            Self::Quit => f.write_str("quit"),
            Self::Killed => f.write_str("killed"),
            Self::Stopping => f.write_str("the index stops"),
            Self::Idle => f.write_str("nothing came for too long"),
            Self::NotReading => f.write_str("the peer does not read its answers"),
            Self::Line(error) => error.fmt(f),
            Self::Failed(error) => error.fmt(f),
        }
    }
}

impl InboundSession {
    /// A session for `stream`, which begins to read when it is started.
    pub fn new(
        id: u32,
        peer: SocketAddr,
        stream: Box<dyn Stream>,
        limits: Limits,
        home: Rc<SessionHome>,
    ) -> Self {
        let now = Instant::now();
        let span = span(id, peer, &home.cluster, None);
        Self {
            id,
            peer,
            stream,
            lines: LineBuffer::for_requests(),
            out: Outgoing::default(),
            asked: None,
            closing: None,
            stopping: false,
            opened: now,
            last_read: now,
            stalled_since: None,
            requests: 0,
            traffic: Traffic::default(),
            node: None,
            limits,
            home,
            span,
            timer: Box::pin(tokio::time::sleep_until(now + limits.idle)),
        }
    }

    /// Goes on until there is nothing to do but to wait; ready when the session is over.
    fn advance(&mut self, cx: &mut TaskContext<'_>) -> Poll<Closed> {
        loop {
            if self.out.is_full() && ready!(self.flush(cx)).is_err() {
                return Poll::Ready(Closed::ByPeer);
            }
            if let Some((pending, _)) = &mut self.asked {
                match pending.as_mut().poll(cx) {
                    Poll::Ready(answer) => {
                        self.asked = None;
                        self.answer(answer);
                    }
                    Poll::Pending => {
                        // Those before it need not wait for it.
                        let flushed = self.flush(cx);
                        return match flushed {
                            Poll::Ready(Err(error)) => Poll::Ready(Closed::Failed(error)),
                            _ => Poll::Pending,
                        };
                    }
                }
                continue;
            }
            if self.closing.is_none() && self.next_request() {
                continue;
            }
            if let Err(error) = ready!(self.flush(cx)) {
                return Poll::Ready(Closed::Failed(error));
            }
            if let Some(why) = self.closing.take() {
                return Poll::Ready(why);
            }
            if self.stopping {
                return Poll::Ready(Closed::Stopping);
            }
            match ready!(self.read(cx)) {
                Ok(0) => return Poll::Ready(Closed::ByPeer),
                Ok(_) => {}
                Err(error) => return Poll::Ready(Closed::Failed(error)),
            }
        }
    }

    /// Takes the next request that has arrived; false when there is none.
    fn next_request(&mut self) -> bool {
        let request = match self.lines.next_frame() {
            Ok(Some(frame)) => frame.request(),
            Ok(None) => return false,
            Err(error) => {
                self.closing = Some(Closed::Line(error));
                return false;
            }
        };
        self.requests += 1;
        match request {
            Ok(request) => self.take(request),
            Err(rejected) => {
                debug!(parent: &self.span, %rejected, "rejected");
                self.home.metrics.requested(UNKNOWN_COMMAND);
                self.answer(Bytes::from_static(rejected.reply));
            }
        }
        true
    }

    fn take(&mut self, request: Request) {
        self.home.metrics.requested(request.name());
        if let Some(node) = requests::subject(&request)
            && self.node.as_ref() != Some(node)
        {
            // A span keeps what was recorded once for ever: a new one for another node.
            self.span = span(self.id, self.peer, &self.home.cluster, Some(node));
            self.node = Some(node.clone());
        }
        let op = requests::op(&request);
        let caller = Caller { peer: self.peer.ip(), limits: self.limits };
        match requests::take(request, &self.home, caller) {
            Outcome::Answered(answer) => self.answer(answer),
            Outcome::Asked(pending) => {
                self.asked = Some((Box::pin(pending.instrument(self.span.clone())), op));
            }
            Outcome::Quit => self.closing = Some(Closed::Quit),
        }
    }

    fn answer(&mut self, answer: Bytes) {
        logs::wire(u64::from(self.id), Direction::Out, &answer);
        if !answer.is_empty() {
            self.out.push(answer);
        }
    }

    fn flush(&mut self, cx: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        let flushed = self.out.poll_flush(&mut *self.stream, &mut self.traffic.written, cx);
        if flushed.is_pending() {
            self.stalled_since.get_or_insert_with(Instant::now);
        } else {
            self.stalled_since = None;
        }
        flushed
    }

    fn read(&mut self, cx: &mut TaskContext<'_>) -> Poll<io::Result<usize>> {
        // On the stack, so that a session that waits holds no buffer.
        let mut room = [MaybeUninit::uninit(); READ_SIZE];
        let mut room = ReadBuf::uninit(&mut room);
        ready!(Pin::new(&mut *self.stream).poll_read(cx, &mut room))?;
        logs::wire(u64::from(self.id), Direction::In, room.filled());
        self.lines.extend(room.filled());
        let taken = room.filled().len();
        self.traffic.read += taken as u64;
        self.last_read = Instant::now();
        Poll::Ready(Ok(taken))
    }

    /// When the session is to be ended if nothing happens until then.
    fn due(&self) -> Instant {
        match self.stalled_since {
            Some(since) => since + self.limits.write,
            // A request in hand has a deadline of its own.
            None if self.asked.is_some() => Instant::now() + self.limits.idle,
            None => self.last_read + self.limits.idle,
        }
    }

    /// The deadlines. The timer is set anew only when it would be late, so that a busy session
    /// does not touch it.
    fn overdue(&mut self, cx: &mut TaskContext<'_>) -> Poll<Closed> {
        loop {
            let due = self.due();
            if due < self.timer.deadline() {
                self.timer.as_mut().reset(due);
            }
            ready!(self.timer.as_mut().poll(cx));
            let now = Instant::now();
            if due <= now {
                let why =
                    if self.stalled_since.is_some() { Closed::NotReading } else { Closed::Idle };
                return Poll::Ready(why);
            }
            self.timer.as_mut().reset(due);
        }
    }

    fn log_end(&self, why: &Closed) {
        let (requests, Traffic { read, written }) = (self.requests, self.traffic);
        match why {
            Closed::ByPeer | Closed::Quit | Closed::Stopping => {
                debug!(parent: &self.span, %why, requests, read, written, "closed");
            }
            _ => info!(parent: &self.span, %why, requests, read, written, "closed"),
        }
    }
}

/// On every line about the connection.
fn span(id: u32, peer: SocketAddr, cluster: &str, node: Option<&NodeKey>) -> Span {
    let node = node.map(NodeKey::as_str);
    info_span!("connection", conn = id, %peer, cluster, node)
}

/// The future of a session's actor that moves its connection on; its end is the session's.
struct Drive;

impl ActorFuture<InboundSession> for Drive {
    type Output = ();

    fn poll(
        self: Pin<&mut Self>,
        session: &mut InboundSession,
        ctx: &mut Context<InboundSession>,
        task: &mut TaskContext<'_>,
    ) -> Poll<()> {
        let why = match session.advance(task) {
            Poll::Ready(why) => why,
            Poll::Pending => ready!(session.overdue(task)),
        };
        session.log_end(&why);
        ctx.stop();
        Poll::Ready(())
    }
}

impl Actor for InboundSession {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        ctx.spawn(Drive);
    }
}

/// The listener hears of every end, a panic included.
impl Drop for InboundSession {
    fn drop(&mut self) {
        let end = End::of_this_drop();
        let notice = SessionEnded { id: self.id, peer: self.peer, end, traffic: self.traffic };
        // Bounded by construction: one per session.
        self.home.listener.ended.do_send(notice);
    }
}

impl Handler<EndSession> for InboundSession {
    type Result = ();

    fn handle(&mut self, how: EndSession, _: &mut Context<Self>) {
        match how {
            EndSession::Killed => self.closing = Some(Closed::Killed),
            EndSession::Stopping => self.stopping = true,
        }
    }
}

impl Handler<GetStatus> for InboundSession {
    type Result = SessionStatus;

    fn handle(&mut self, _: GetStatus, _: &mut Context<Self>) -> SessionStatus {
        SessionStatus {
            facts: SessionFacts {
                id: u64::from(self.id),
                peer: self.peer,
                node: self.node.clone(),
                open_for: self.opened.elapsed(),
                idle_for: self.last_read.elapsed(),
                requests: self.requests,
            },
            op: self.asked.as_ref().map(|(_, op)| *op),
            traffic: self.traffic,
        }
    }
}
