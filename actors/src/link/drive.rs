//! Moves a link's connection on as far as it goes without waiting.
//!
//! Polled whenever the socket, the timer or a message has something new. One exchange at a time;
//! what comes next is chosen in [`NodeLink::next_question`] alone.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use actix::ActorFuture;
use bytes::{Buf, Bytes};
use flare_core::policy::suspicion::Evidence;
use flare_core::protocol::line::LineBuffer;
use flare_core::protocol::node::ReplyError;
use tokio::io::ReadBuf;
use tokio::time::Instant;
use tracing::{debug, info};

use super::exchange::{Exchange, Question};
use super::opening::open;
use super::outcome::Loss;
use super::{
    CONNECT_DEADLINE, EMPTY_DEADLINE, NodeLink, OBSERVE_INTERVAL, OpenWire, PUSH_DEADLINE, Wire,
};
use crate::logs::{self, Direction};
use crate::metrics::Miss;
use crate::net::Stream;
use crate::topology::NodeReached;
use crate::whereabouts::Whereabouts;

/// Bytes that are read at once; most answers are shorter.
const READ_SIZE: usize = 4 * 1024;

/// The future of a link's actor that moves its connection on; never ends by itself.
pub(super) struct Drive;

impl ActorFuture<NodeLink> for Drive {
    type Output = ();

    fn poll(
        self: Pin<&mut Self>,
        link: &mut NodeLink,
        _: &mut actix::Context<NodeLink>,
        task: &mut Context<'_>,
    ) -> Poll<()> {
        loop {
            let due = match link.advance(task) {
                Poll::Ready(()) => continue,
                Poll::Pending => link.due(),
            };
            if link.timer.deadline() != due {
                link.timer.as_mut().reset(due);
            }
            ready!(link.timer.as_mut().poll(task));
        }
    }
}

impl NodeLink {
    /// One thing; `Pending` when there is nothing to do but to wait until [`Self::due`].
    fn advance(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.wire {
            Wire::Closed => {
                if self.home.clock.now() < self.pacing.next_attempt() {
                    return Poll::Pending;
                }
                self.connect();
                Poll::Ready(())
            }
            Wire::Connecting { attempt, deadline } => {
                let late = Instant::now() >= *deadline;
                match attempt.as_mut().poll(cx) {
                    Poll::Ready(Ok((stream, found))) => self.opened(stream, found),
                    Poll::Ready(Err(error)) => self.not_opened(&error),
                    Poll::Pending if late => {
                        self.not_opened(&io::ErrorKind::TimedOut.into());
                    }
                    Poll::Pending => return Poll::Pending,
                }
                Poll::Ready(())
            }
            Wire::Open(open) if open.exchange.is_some() => {
                match ready!(self.poll_exchange(cx)) {
                    Ok(()) => {}
                    Err(loss) => self.lost(loss),
                }
                Poll::Ready(())
            }
            Wire::Open(_) => {
                if let Poll::Ready(loss) = self.poll_idle(cx) {
                    self.lost(loss);
                    return Poll::Ready(());
                }
                match self.next_question(Instant::now()) {
                    Some((question, request)) => {
                        self.ask(question, request);
                        Poll::Ready(())
                    }
                    None => Poll::Pending,
                }
            }
        }
    }

    /// When the timer has something to do.
    fn due(&self) -> Instant {
        match &self.wire {
            Wire::Closed => self.attempt_at(),
            Wire::Connecting { deadline, .. } => *deadline,
            Wire::Open(open) => match &open.exchange {
                Some(exchange) => exchange.missed_at.min(exchange.deadline),
                None => {
                    let push_at = self.must_push().map(|_| self.push_at);
                    let ping_at = self.pings().then(|| self.attempt_at());
                    let reading_at = self.queue_watches.iter().map(|watch| watch.next_at).min();
                    let forget_at = self.forgettable.iter().map(|key| key.at).min();
                    let look_at = self.stuck_watch.as_ref().map(|watch| watch.next_at);
                    let looks = [look_at, self.connections_due(), self.hunt_due()];
                    [push_at, ping_at, reading_at, forget_at]
                        .into_iter()
                        .chain(looks)
                        .flatten()
                        .fold(self.observe_at, Instant::min)
                }
            },
        }
    }

    fn attempt_at(&self) -> Instant {
        self.home.clock.instant(self.pacing.next_attempt())
    }

    fn pings(&self) -> bool {
        self.settings.interval_millis != 0
    }

    fn interval(&self) -> Duration {
        Duration::from_millis(self.settings.interval_millis)
    }

    fn read_timeout(&self) -> Duration {
        Duration::from_millis(self.settings.read_timeout_millis)
    }

    fn connect(&mut self) {
        let attempt = open(
            Rc::clone(&self.home.network),
            self.node.name().to_owned(),
            self.node.port(),
            self.whereabouts.clone(),
        );
        self.wire = Wire::Connecting {
            attempt: Box::pin(attempt),
            deadline: Instant::now() + CONNECT_DEADLINE,
        };
    }

    fn opened(&mut self, stream: Box<dyn Stream>, found: Whereabouts) {
        debug!(parent: &self.span, address = %found.reached, "connected");
        if self.whereabouts.as_ref() != Some(&found) {
            self.whereabouts = Some(found.clone());
            self.home.topology.reached.do_send(NodeReached { node: self.node.clone(), found });
        }
        self.incarnation = None;
        self.acknowledged = 0;
        self.push_at = Instant::now();
        self.wire =
            Wire::Open(OpenWire { stream, lines: LineBuffer::for_replies(), exchange: None });
    }

    fn not_opened(&mut self, error: &io::Error) {
        debug!(parent: &self.span, %error, "cannot connect");
        self.wire = Wire::Closed;
        self.silent = error.kind() != io::ErrorKind::ConnectionRefused;
        if error.kind() == io::ErrorKind::ConnectionRefused {
            self.home.metrics.ping_missed(Miss::Refused);
            self.tell(Evidence::ConnectRefused);
        } else {
            self.home.metrics.ping_missed(Miss::Timeout);
            self.tell(Evidence::ConnectFailed);
        }
        self.tell_closed();
    }

    /// What a connection begins with. A node that is down in the map and was not seen to end may be
    /// a master that hung or was cut off, and goes on as one: the map that says otherwise is the
    /// first thing that it is to read, before it answers anything (R9).
    fn first_question(&self) -> (Question, Bytes) {
        match self.must_push().filter(|_| self.silent && self.is_down()) {
            Some(map) => Question::tell_and_observe(map.sync_request()),
            None => Question::observe(),
        }
    }

    /// What is to be asked now, if anything.
    fn next_question(&mut self, now: Instant) -> Option<(Question, Bytes)> {
        let Some(incarnation) = self.incarnation else {
            return Some(self.first_question());
        };
        let ping_due = self.pings() && now >= self.attempt_at();
        // Pushes come first, but must not keep a node from being pinged.
        let ping_overdue = ping_due && now >= self.attempt_at() + self.interval();
        if !ping_overdue
            && now >= self.push_at
            && let Some(map) = self.must_push().map(Arc::clone)
        {
            return Some(match self.ask_behind(&map) {
                Some(asked) => {
                    Question::push_and_connect(map.version(), map.sync_request(), &asked)
                }
                None => Question::push(map.version(), map.sync_request().clone()),
            });
        }
        if ping_due {
            return Some(Question::ping());
        }
        if let Some(question) = self.next_of_connecting(now) {
            return Some(question);
        }
        if let Some(order) = self.to_empty.take() {
            if order.incarnation.is_same(&incarnation) {
                return Some(Question::empty(order.intent));
            }
            info!(parent: &self.span, intent = order.intent, "not emptied: another process");
            self.tell_emptied(order.intent, false);
        }
        if let Some(question) = self.next_of_hunt(now) {
            return Some(question);
        }
        if self.is_queue_to_read(now) {
            return Some(Question::read_queues());
        }
        if let Some(question) = self.next_to_forget(now).or_else(|| self.next_of_senders(now)) {
            return Some(question);
        }
        (self.probe_wanted || now >= self.observe_at).then(Question::observe)
    }

    /// Is a queue to be looked at now? A watch that has taken too long ends.
    fn is_queue_to_read(&mut self, now: Instant) -> bool {
        let time = self.home.clock.now();
        self.queue_watches.retain(|watch| time < watch.until);
        self.queue_watches.iter().any(|watch| now >= watch.next_at)
    }

    fn ask(&mut self, question: Question, request: Bytes) {
        let now = Instant::now();
        let patience = match &question {
            Question::Ping(_) => self.read_timeout(),
            Question::Observe { told, .. } => {
                self.probe_wanted = false;
                self.observe_at = now + OBSERVE_INTERVAL;
                let telling = if told.is_some() { PUSH_DEADLINE } else { Duration::ZERO };
                telling.max(self.read_timeout())
            }
            Question::ReadQueues { .. }
            | Question::ShowConnections(_)
            | Question::Connect { map: None, .. }
            | Question::Forget(_)
            | Question::ListSenders(_)
            | Question::EndSender(_)
            | Question::ListClients(_)
            | Question::Kill(_) => self.read_timeout(),
            Question::Push { .. } | Question::Connect { map: Some(_), .. } => {
                PUSH_DEADLINE.max(self.read_timeout())
            }
            Question::Empty { .. } => EMPTY_DEADLINE,
        };
        logs::wire(u64::from(self.thread), Direction::Out, &request);
        let deadline = now + patience;
        // While a push is not answered no ping can be sent; each one that falls out is missed.
        let missed_at = match question {
            Question::Push { .. } | Question::Connect { .. } if self.pings() => {
                now + self.read_timeout()
            }
            _ => deadline,
        };
        if let Wire::Open(open) = &mut self.wire {
            open.exchange = Some(Box::new(Exchange {
                question,
                unsent: request,
                began: now,
                deadline,
                missed_at,
            }));
        }
    }

    /// Writes what is unsent, reads what has come; ready when the exchange is over.
    fn poll_exchange(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Loss>> {
        let Wire::Open(OpenWire { stream, lines, exchange: Some(exchange) }) = &mut self.wire
        else {
            return Poll::Ready(Ok(()));
        };
        while !exchange.unsent.is_empty() {
            match Pin::new(&mut **stream).poll_write(cx, &exchange.unsent) {
                Poll::Ready(Ok(taken)) if taken > 0 => {
                    exchange.unsent.advance(taken);
                    self.traffic.written += taken as u64;
                }
                Poll::Ready(Ok(_)) => return Poll::Ready(Err(Loss::Ended(None))),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(Loss::Ended(Some(error)))),
                Poll::Pending => break,
            }
        }
        loop {
            match exchange.question.read(lines) {
                Ok(Some(answer)) => {
                    self.answered(answer);
                    return Poll::Ready(Ok(()));
                }
                Ok(None) => {}
                Err(error) => return Poll::Ready(self.refused(error)),
            }
            match read(&mut **stream, lines, self.thread, cx) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(Loss::Ended(None))),
                Poll::Ready(Ok(taken)) => self.traffic.read += taken as u64,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(Loss::Ended(Some(error)))),
                Poll::Pending => break,
            }
        }
        let now = Instant::now();
        if now >= exchange.deadline {
            return Poll::Ready(Err(Loss::Silence));
        }
        if now >= exchange.missed_at {
            exchange.missed_at = now + Duration::from_millis(self.settings.interval_millis.max(1));
            self.home.metrics.ping_missed(Miss::Timeout);
            self.tell(Evidence::PingMissed);
            // The timer is to be set again.
            return Poll::Ready(Ok(()));
        }
        Poll::Pending
    }

    /// Nothing is asked, so nothing may come: bytes now would be taken for a later answer.
    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<Loss> {
        let Wire::Open(OpenWire { stream, lines, .. }) = &mut self.wire else {
            return Poll::Pending;
        };
        let taken = match ready!(read(&mut **stream, lines, self.thread, cx)) {
            Ok(0) => return Poll::Ready(Loss::Ended(None)),
            Ok(taken) => taken,
            Err(error) => return Poll::Ready(Loss::Ended(Some(error))),
        };
        let what = format!("{taken} bytes that nobody asked for");
        Poll::Ready(Loss::Nonsense(ReplyError::Unexpected(what)))
    }
}

fn read(
    stream: &mut dyn Stream,
    lines: &mut LineBuffer,
    thread: u32,
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    // On the stack, so that a connection that waits holds no buffer.
    let mut room = [MaybeUninit::uninit(); READ_SIZE];
    let mut room = ReadBuf::uninit(&mut room);
    ready!(Pin::new(stream).poll_read(cx, &mut room))?;
    logs::wire(u64::from(thread), Direction::In, room.filled());
    lines.extend(room.filled());
    Poll::Ready(Ok(room.filled().len()))
}
