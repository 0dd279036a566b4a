//! What follows from an answer, a refusal or the loss of the connection: the link's own state, and
//! what it tells the topology and the failover actor.

use std::io;
use std::time::Duration;

use flare_core::model::State;
use flare_core::policy::suspicion::Evidence;
use flare_core::protocol::node::{NodeThreads, ReplyError};
use flare_core::topology::Observation;
use tokio::time::Instant;
use tracing::{debug, info, trace, warn};

use super::exchange::{Answered, Exchange, Question};
use super::{
    BUSY_READINGS, NodeLink, PUSH_RETRY_PAUSE, QUEUE_READING_PAUSE, QUIET_READINGS,
    STUCK_QUEUE_READING_PAUSE, Wire,
};
use crate::failover::EvidenceSeen;
use crate::metrics::Miss;
use crate::topology::{
    LinkEnded, LinkOpened, MapAcknowledged, NodeEmptied, NodeObserved, QueueDrained,
};

/// Why a connection is of no more use.
pub(super) enum Loss {
    /// The other side ended it, or the network did.
    Ended(Option<io::Error>),
    /// No answer came in time.
    Silence,
    /// The answer is none.
    Nonsense(ReplyError),
}

impl NodeLink {
    /// The exchange ended well.
    pub(super) fn answered(&mut self, answer: Answered) {
        let Some(exchange) = self.take_exchange() else { return };
        let took = exchange.began.elapsed();
        trace!(parent: &self.span, ?answer, ?took, "answered");
        match answer {
            Answered::Pong => {
                self.home.metrics.ping_answered(took);
                self.tell(Evidence::PingAnswered { incarnation: self.incarnation });
            }
            Answered::MapTaken { version } => self.map_taken(version, took),
            Answered::Observed { observation, connected } => {
                self.observed(observation);
                self.look_for_leftovers(&connected);
                self.connections_seen(connected);
            }
            Answered::QueuesRead(threads) => self.queues_read(&threads),
            Answered::ConnectionsShown { map, threads } => {
                // First: whoever waits for the map waits for the connections, too.
                self.connections_shown(&threads);
                if let Some(version) = map {
                    self.map_taken(version, took);
                }
            }
            Answered::SendersListed(senders) => self.senders_listed(&senders),
            Answered::Forgotten | Answered::SenderEnded => {}
            Answered::ClientsListed(connected) => self.clients_listed(&connected),
            Answered::ClientEnded => self.client_ended(true),
            Answered::Emptied { intent } => self.tell_emptied(intent, true),
        }
    }

    fn map_taken(&mut self, version: u64, took: Duration) {
        self.home.metrics.push_acknowledged(took);
        self.acknowledged = version;
        if self.must_push().is_none() {
            self.unacknowledged_since = None;
        }
        let node = self.node.clone();
        self.home.topology.acknowledged.do_send(MapAcknowledged { node, version });
    }

    fn observed(&mut self, observation: Observation) {
        self.incarnation = Some(observation.incarnation);
        self.silent = false;
        self.acknowledged = observation.version;
        if self.told_open != Some(true) {
            self.told_open = Some(true);
            self.home.topology.opened.do_send(LinkOpened { node: self.node.clone() });
        }
        let node = self.node.clone();
        self.home.topology.observed.do_send(NodeObserved { node, observation });
    }

    /// The node said no, or something that is no answer.
    pub(super) fn refused(&mut self, error: ReplyError) -> Result<(), Loss> {
        if !error.keeps_connection() {
            return Err(Loss::Nonsense(error));
        }
        let Some(exchange) = self.take_exchange() else { return Ok(()) };
        if !matches!(exchange.question, Question::Kill(_) | Question::EndSender(_)) {
            warn!(parent: &self.span, request = exchange.question.name(), %error, "refused");
        }
        match exchange.question {
            Question::Ping(_) => {
                self.home.metrics.ping_missed(Miss::Sick);
                self.tell(Evidence::PingFailed);
                Ok(())
            }
            Question::Push { .. } | Question::Connect { map: Some(_), .. } => {
                self.home.metrics.push_failed(Miss::Sick);
                self.push_at = Instant::now() + PUSH_RETRY_PAUSE;
                self.probe_wanted = true;
                Ok(())
            }
            // A flared answers `stats`: whatever this is, it is none.
            Question::Observe { .. }
            | Question::ReadQueues { .. }
            | Question::ShowConnections(_)
            | Question::Connect { map: None, .. }
            | Question::Forget(_)
            | Question::ListSenders(_)
            | Question::ListClients(_) => Err(Loss::Nonsense(error)),
            // They have gone by themselves.
            Question::EndSender(_) => Ok(()),
            Question::Kill(_) => {
                self.client_ended(false);
                Ok(())
            }
            Question::Empty { intent, .. } => {
                self.tell_emptied(intent, false);
                Ok(())
            }
        }
    }

    pub(super) fn take_exchange(&mut self) -> Option<Box<Exchange>> {
        match &mut self.wire {
            Wire::Open(open) => open.exchange.take(),
            Wire::Closed | Wire::Connecting { .. } => None,
        }
    }

    /// The connection is of no more use.
    pub(super) fn lost(&mut self, loss: Loss) {
        let asked = self.close();
        // One that ends its connections mostly ends itself.
        self.silent |= !matches!(loss, Loss::Ended(_));
        let miss = match loss {
            Loss::Ended(error) => {
                debug!(parent: &self.span, ?error, asked, "the connection ended");
                self.tell(Evidence::ConnectionEnded);
                Miss::Ended
            }
            Loss::Silence => {
                info!(parent: &self.span, asked, "no answer in time");
                self.tell(Evidence::PingMissed);
                Miss::Timeout
            }
            Loss::Nonsense(error) => {
                warn!(parent: &self.span, asked, %error, "not an answer of a flared");
                self.tell(Evidence::PingFailed);
                Miss::Sick
            }
        };
        match asked {
            Some("node_sync") => self.home.metrics.push_failed(miss),
            Some(_) => self.home.metrics.ping_missed(miss),
            None => {}
        }
    }

    /// Closes the connection and tells who waits for it; with what was being asked.
    pub(super) fn close(&mut self) -> Option<&'static str> {
        let exchange = self.take_exchange();
        self.wire = Wire::Closed;
        self.incarnation = None;
        // Who waits for it asks again when the connection stands.
        self.connecting = None;
        self.told_connected = None;
        self.forget_stuck_threads();
        self.forget_leftovers();
        self.abandon_hunt();
        if let Some(Question::Empty { intent, .. }) = exchange.as_ref().map(|it| &it.question) {
            self.tell_emptied(*intent, false);
        }
        self.tell_closed();
        exchange.map(|exchange| exchange.question.name())
    }

    pub(super) fn tell_closed(&mut self) {
        if let Some(order) = self.to_empty.take() {
            self.tell_emptied(order.intent, false);
        }
        if self.told_open != Some(false) {
            self.told_open = Some(false);
            self.home.topology.ended.do_send(LinkEnded { node: self.node.clone() });
        }
    }

    pub(super) fn tell_emptied(&self, intent: u64, ok: bool) {
        let node = self.node.clone();
        self.home.topology.emptied.do_send(NodeEmptied { node, intent, ok });
    }

    /// Is it down in the published map?
    pub(super) fn is_down(&self) -> bool {
        let published = self.home.published.borrow();
        let stored = published.snapshot.node(&self.node);
        stored.is_some_and(|stored| stored.entry.state == State::Down)
    }

    pub(super) fn tell(&mut self, evidence: Evidence) {
        let down = self.is_down();
        self.pacing.after(evidence, down, &self.settings, self.home.clock.now());
        self.home.failover.do_send(EvidenceSeen { node: self.node.clone(), evidence });
    }

    /// One reading is for all queues that are watched.
    fn queues_read(&mut self, threads: &NodeThreads) {
        for watch in &mut self.queue_watches {
            let seen = threads.of_kind(watch.towards);
            let quiet = seen.queued == 0 && seen.busy == 0;
            watch.quiet = if quiet { watch.quiet + 1 } else { 0 };
            watch.busy = if quiet { watch.busy } else { watch.busy.saturating_add(1) };
            let stuck = !quiet && watch.busy > BUSY_READINGS;
            let pause = if stuck { STUCK_QUEUE_READING_PAUSE } else { QUEUE_READING_PAUSE };
            watch.next_at = Instant::now() + pause;
        }
        for watch in self.queue_watches.extract_if(.., |watch| watch.quiet >= QUIET_READINGS) {
            let (node, towards) = (self.node.clone(), watch.towards);
            self.home.topology.drained.do_send(QueueDrained { node, towards });
        }
    }
}
