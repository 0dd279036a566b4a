//! The topology actor of a cluster: owns the node map, carries out its steps, adds nothing.
//!
//! Every change comes in as a message, becomes an `Input` of `flare_core::topology::Topology`, and
//! its `Step` is carried out in order: the store first, then whatever the step says. It waits for
//! nobody: the store, the links and the timer answer with messages of their own. Sessions,
//! failover and admin ask it; it asks no one.

mod effects;
mod handlers;
mod links;
mod messages;
mod queries;
mod report;
mod storing;

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

use actix::{Actor, Addr, Context, Recipient, SpawnHandle};
use flare_core::model::{NodeKey, Timestamp};
use flare_core::topology::{Answer, Event, Input, Mode, Refusal, RequestId, Topology};
use tokio::sync::{broadcast, oneshot, watch};
use tokio::time::Instant;

pub use messages::*;
pub use storing::STORE_PATIENCE;

use crate::clock::Clock;
use crate::link::{LinkHome, MonitorSettings};
use crate::metrics::ClusterMetrics;
use crate::obituary::Obituary;
use crate::overview::EventRecord;
use crate::park::ParkActor;
use crate::whereabouts::Addresses;
use crate::{failover, store};
use links::LinkHandle;
use storing::WriteInHand;

/// Messages that may wait for the topology: a whole large cluster that calls at once. Further
/// askers wait outside, within their deadline.
pub const MAILBOX_SIZE: usize = 4096;

/// Events that are kept for whoever looks later.
pub const EVENTS_KEPT: usize = 256;

/// Events that a slow reader may be behind.
pub const EVENTS_BUFFERED: usize = 1024;

/// What a topology actor is made of.
pub struct Parts {
    /// The cluster's name, for logs, metrics and the page.
    pub cluster: Arc<str>,
    /// The decisions.
    pub topology: Topology,
    /// Who decides about roles, for the page; follows [`ChangeWanted`].
    pub mode: Mode,
    /// The time.
    pub clock: Clock,
    /// Where maps are made safe.
    pub store: Recipient<store::Write>,
    /// Who is told of every published map.
    pub failover: Recipient<failover::MapPublished>,
    /// The relay that stands in for a master while it is swapped.
    pub relay: Addr<ParkActor>,
    /// What every link is given.
    pub link_home: Rc<LinkHome>,
    /// How nodes are watched.
    pub monitoring: MonitorSettings,
    /// Where the committed map is published; holds that of `topology`.
    pub published: watch::Sender<Published>,
    /// Where it is published where nodes were last reached.
    pub addresses: watch::Sender<Addresses>,
    /// Where counts go.
    pub metrics: ClusterMetrics,
    /// Tells the parent of this actor's end.
    pub obituary: Option<Obituary>,
}

/// Owns the node map of one cluster.
pub struct TopologyActor {
    cluster: Arc<str>,
    /// Changed by [`Self::submit`] alone.
    topology: Topology,
    mode: Mode,
    clock: Clock,
    store: Recipient<store::Write>,
    failover: Recipient<failover::MapPublished>,
    relay: Addr<ParkActor>,
    /// The number of the last relay that was ordered.
    relay_number: u64,
    link_home: Rc<LinkHome>,
    monitoring: MonitorSettings,
    metrics: ClusterMetrics,
    /// One link for each node of the published map.
    links: BTreeMap<NodeKey, LinkHandle>,
    /// The thread id of the next link.
    next_link_thread: u32,
    /// Who waits for an answer.
    askers: BTreeMap<RequestId, oneshot::Sender<Answer>>,
    next_request: u64,
    /// The committed map, for everyone who reads.
    published: watch::Sender<Published>,
    /// Where the nodes of that map were last reached, for everyone who reads.
    addresses: watch::Sender<Addresses>,
    events: broadcast::Sender<EventRecord>,
    recent_events: VecDeque<EventRecord>,
    next_event: u64,
    /// When the core wants to be called, and the timer for it.
    wake: Option<(Timestamp, SpawnHandle)>,
    /// Writes that the store has not answered, by generation.
    writes_in_hand: BTreeMap<u64, WriteInHand>,
    /// The last write failed, and why; readiness tells.
    store_trouble: Option<String>,
    /// An invariant broke, and which; readiness tells until a restart.
    invariant_trouble: Option<String>,
    /// Who waits for the last step; once there is one, changes are refused.
    finishing: Vec<oneshot::Sender<()>>,
    _obituary: Option<Obituary>,
}

impl TopologyActor {
    /// An actor that publishes the map of `parts.topology` as soon as it is started.
    pub fn new(parts: Parts) -> Self {
        Self {
            cluster: parts.cluster,
            topology: parts.topology,
            mode: parts.mode,
            clock: parts.clock,
            store: parts.store,
            failover: parts.failover,
            relay: parts.relay,
            relay_number: 0,
            link_home: parts.link_home,
            monitoring: parts.monitoring,
            metrics: parts.metrics,
            links: BTreeMap::new(),
            next_link_thread: links::FIRST_THREAD,
            askers: BTreeMap::new(),
            next_request: 0,
            published: parts.published,
            addresses: parts.addresses,
            events: broadcast::Sender::new(EVENTS_BUFFERED),
            recent_events: VecDeque::new(),
            next_event: 0,
            wake: None,
            writes_in_hand: BTreeMap::new(),
            store_trouble: None,
            invariant_trouble: None,
            finishing: Vec::new(),
            _obituary: parts.obituary,
        }
    }

    /// Hands one input to the core and carries out what follows. A refusal goes to the asker of
    /// `request`, if there is one, else to the log.
    fn submit(&mut self, input: Input, request: Option<RequestId>, ctx: &mut Context<Self>) {
        let began = Instant::now();
        let outcome = self.topology.handle(input, self.clock.now());
        self.metrics.reconciled(began.elapsed());
        match outcome {
            Ok(step) => self.carry_out(step, ctx),
            Err(refusal) => {
                self.metrics.refused(&refusal);
                match (request, refusal) {
                    (Some(request), refusal) => self.answer(request, Answer::Refused(refusal)),
                    // What nobody asked for is ours to get right.
                    (None, Refusal::Invariant(what)) => {
                        self.happened(Event::InvariantBroken { what });
                    }
                    (None, refusal) => tracing::debug!(?refusal, "the topology refused an input"),
                }
            }
        }
        self.finish_if_idle();
    }

    fn answer(&mut self, request: RequestId, answer: Answer) {
        if let Some(asker) = self.askers.remove(&request) {
            // An asker that is gone has given up or hung up; what was done stays done.
            let _ = asker.send(answer);
        }
    }

    /// Is no step in hand?
    fn is_idle(&self) -> bool {
        self.askers.is_empty() && self.writes_in_hand.is_empty()
    }

    /// Tells those who wait for it that no step is in hand.
    fn finish_if_idle(&mut self) {
        if self.is_idle() {
            for waiting in self.finishing.drain(..) {
                let _ = waiting.send(());
            }
        }
    }
}

impl Actor for TopologyActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        ctx.set_mailbox_capacity(MAILBOX_SIZE);
        let snapshot = Arc::clone(self.topology.snapshot());
        tracing::info!(
            version = snapshot.version(),
            nodes = snapshot.entries().count(),
            generation = snapshot.generation(),
            "going on from the stored map"
        );
        self.match_links(&snapshot, true, ctx);
    }
}
