//! The connection of the index to one node: pings, the map, what the node shows of itself.
//!
//! There is one [`NodeLink`] for each node of the published map. It owns one connection, keeps it
//! open, and tells what it learns: to the topology (opened, ended, acknowledged, observed,
//! emptied) and to the failover actor (evidence). It decides nothing about nodes and waits for no
//! actor. A hung node costs its own link's time and nobody else's.
//!
//! The connection is a small machine that is polled ([`drive`]); messages only set what is to be
//! done next. [`exchange`] is one request with its answer, [`outcome`] what follows from it; when
//! to connect and to ping is `flare_core`'s `Pacing`.

mod clients;
mod connections;
mod drive;
mod ears;
mod exchange;
mod introducing;
mod leftovers;
mod messages;
mod opening;
mod outcome;
mod stuck;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, ActorContext, AsyncContext, Context, Handler, Recipient};
use flare_core::model::{Incarnation, NodeKey, Timestamp};
use flare_core::policy::pacing::Pacing;
use flare_core::protocol::command::ThreadState;
use flare_core::protocol::line::LineBuffer;
use flare_core::topology::Snapshot;
use tokio::sync::watch;
use tokio::time::{Instant, Sleep};
use tracing::{Span, info, info_span};

pub use ears::TopologyEars;
pub use flare_core::policy::suspicion::MonitorSettings;
pub use messages::*;

/// How long opening a connection may take, resolving the name included.
pub const CONNECT_DEADLINE: Duration = Duration::from_secs(1);

/// How long resolving the name may take of that: the rest is for the address that it last had.
pub const RESOLVE_DEADLINE: Duration = Duration::from_millis(500);

/// How long a node may take to acknowledge a map: longer than for a ping, since flared may call
/// the index back before it answers (flare-protocol.md 6.2).
pub const PUSH_DEADLINE: Duration = Duration::from_secs(3);

/// How long a node may take to empty its storage; flared does it while it answers.
pub const EMPTY_DEADLINE: Duration = Duration::from_secs(30);

/// How often the node's `stats` and `stats threads` are read though nobody asked.
pub const OBSERVE_INTERVAL: Duration = Duration::from_secs(5);

/// Between two readings of a queue that is watched, and the readings in a row that must show it
/// empty (flare-protocol.md 12).
pub const QUEUE_READING_PAUSE: Duration = Duration::from_millis(2);
/// See [`QUEUE_READING_PAUSE`].
pub const QUIET_READINGS: u32 = 3;

/// A queue that was not empty so often is stuck: it is looked at less often from then on.
pub const BUSY_READINGS: u32 = 100;
/// See [`BUSY_READINGS`].
pub const STUCK_QUEUE_READING_PAUSE: Duration = Duration::from_millis(50);

/// How long after a refused map it is sent again; before that the node's `stats` tell why.
pub const PUSH_RETRY_PAUSE: Duration = Duration::from_secs(1);

use crate::clock::Clock;
use crate::failover::EvidenceSeen;
use crate::metrics::ClusterMetrics;
use crate::net::{NetFuture, Network, Stream};
use crate::obituary::Obituary;
use crate::session::Traffic;
use crate::topology::Published;
use crate::whereabouts::Whereabouts;
use exchange::Exchange;

/// What all links of a cluster share; nothing in it changes.
pub struct LinkHome {
    /// The cluster's name, for logs.
    pub cluster: Arc<str>,
    /// The time.
    pub clock: Clock,
    /// The published map: nobody waits for a node that is down in it.
    pub published: watch::Receiver<Published>,
    /// How to reach nodes.
    pub network: Rc<dyn Network>,
    /// Where counts go.
    pub metrics: ClusterMetrics,
    /// Whom to tell about nodes.
    pub topology: TopologyEars,
    /// Whom to tell whether they are alive.
    pub failover: Recipient<EvidenceSeen>,
}

/// What a link is made of.
pub struct Parts {
    /// The node.
    pub node: NodeKey,
    /// What `kill` takes.
    pub thread: u32,
    /// The node's thread type.
    pub thread_type: u32,
    /// The newest map that the node may be told of.
    pub released: Option<Arc<Snapshot>>,
    /// How the node is watched.
    pub settings: MonitorSettings,
    /// What all links share.
    pub home: Rc<LinkHome>,
    /// Tells the topology of the link's end.
    pub obituary: Option<Obituary>,
}

/// The connection to one node.
pub struct NodeLink {
    node: NodeKey,
    thread: u32,
    thread_type: u32,
    settings: MonitorSettings,
    home: Rc<LinkHome>,
    span: Span,
    made: Instant,
    traffic: Traffic,

    /// The newest map that the node may be told of; set by [`PushMap`] only.
    released: Option<Arc<Snapshot>>,
    /// Since when that map has not been acknowledged.
    unacknowledged_since: Option<Instant>,
    /// What is known of the node's version: acknowledged or shown on this connection.
    acknowledged: u64,
    /// An order to empty the node, until it is carried out.
    to_empty: Option<EmptyNode>,
    /// Somebody wants to know now what the node shows.
    probe_wanted: bool,
    /// Queues of the node's that are watched until they are empty, one per thread type.
    queue_watches: Vec<QueueWatch>,
    /// What the topology was last told, on this connection: to whom has the node connections?
    told_connected: Option<BTreeSet<u32>>,
    /// It is being made to connect to those that it passes writes on to.
    connecting: Option<connections::Connecting>,
    /// What was written for that; a few at most, one per change of the map in half a second.
    forgettable: Vec<connections::Forgettable>,
    /// Its connections to nodes that there are no more are ended.
    leftovers: leftovers::Leftovers,
    /// Writers at it that wait for themselves are freed.
    stuck_watch: Option<stuck::StuckWatch>,
    /// The connections of its clients are being ended.
    client_hunt: Option<clients::ClientHunt>,

    wire: Wire,
    /// When to connect and to ping.
    pacing: Pacing,
    /// When the node's `stats` are read without being asked for.
    observe_at: Instant,
    /// Not before this is a map sent.
    push_at: Instant,
    /// Did the node fall silent, so that its process may live on and know nothing of what happened?
    silent: bool,
    /// The process that answers on this connection, once it has shown itself.
    incarnation: Option<Incarnation>,
    /// What the topology was last told: does the connection stand?
    told_open: Option<bool>,
    /// Where the node's name last led; used when it cannot be resolved.
    whereabouts: Option<Whereabouts>,
    /// One timer for whatever comes next.
    timer: Pin<Box<Sleep>>,
    _obituary: Option<Obituary>,
}

/// A queue of the node's that is watched (flare-protocol.md 12).
struct QueueWatch {
    towards: u32,
    until: Timestamp,
    /// Readings in a row that showed it empty.
    quiet: u32,
    /// Readings that did not.
    busy: u32,
    next_at: Instant,
}

/// How far the connection is.
enum Wire {
    Closed,
    Connecting { attempt: NetFuture<(Box<dyn Stream>, Whereabouts)>, deadline: Instant },
    Open(OpenWire),
}

/// A connection that stands.
struct OpenWire {
    stream: Box<dyn Stream>,
    lines: LineBuffer,
    /// On the heap, so that a connection that waits is small.
    exchange: Option<Box<Exchange>>,
}

impl NodeLink {
    /// A link that begins to connect when it is started.
    pub fn new(parts: Parts) -> Self {
        let now = Instant::now();
        let span = info_span!(
            "connection",
            conn = parts.thread,
            peer = %parts.node,
            cluster = %parts.home.cluster,
            node = %parts.node,
        );
        Self {
            node: parts.node,
            thread: parts.thread,
            thread_type: parts.thread_type,
            settings: parts.settings,
            span,
            made: now,
            traffic: Traffic::default(),
            unacknowledged_since: parts.released.is_some().then_some(now),
            released: parts.released,
            acknowledged: 0,
            to_empty: None,
            probe_wanted: false,
            queue_watches: Vec::new(),
            told_connected: None,
            connecting: None,
            forgettable: Vec::new(),
            leftovers: leftovers::Leftovers::default(),
            stuck_watch: None,
            client_hunt: None,
            wire: Wire::Closed,
            pacing: Pacing::new(parts.home.clock.now()),
            observe_at: now,
            push_at: now,
            silent: false,
            incarnation: None,
            told_open: None,
            whereabouts: None,
            timer: Box::pin(tokio::time::sleep_until(now)),
            home: parts.home,
            _obituary: parts.obituary,
        }
    }

    fn last_address(&self) -> Option<SocketAddr> {
        self.whereabouts.as_ref().map(|found| found.reached)
    }

    /// Is there a map that the node may be told of and has not got?
    fn must_push(&self) -> Option<&Arc<Snapshot>> {
        self.released.as_ref().filter(|map| map.version() > self.acknowledged)
    }
}

impl Actor for NodeLink {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        ctx.spawn(drive::Drive);
    }
}

impl Handler<PushMap> for NodeLink {
    type Result = ();

    fn handle(&mut self, PushMap { snapshot }: PushMap, _: &mut Context<Self>) {
        let newest = self.released.as_ref().is_none_or(|map| map.version() <= snapshot.version());
        if newest {
            self.released = Some(snapshot);
            self.push_at = Instant::now();
            if self.must_push().is_some() {
                self.unacknowledged_since.get_or_insert_with(Instant::now);
            }
        }
    }
}

impl Handler<ProbeNode> for NodeLink {
    type Result = ();

    fn handle(&mut self, _: ProbeNode, _: &mut Context<Self>) {
        self.probe_wanted = true;
    }
}

impl Handler<EmptyNode> for NodeLink {
    type Result = ();

    fn handle(&mut self, order: EmptyNode, _: &mut Context<Self>) {
        self.to_empty = Some(order);
    }
}

impl Handler<WatchQueue> for NodeLink {
    type Result = ();

    fn handle(&mut self, watch: WatchQueue, _: &mut Context<Self>) {
        let WatchQueue { towards, until, settle } = watch;
        let next_at = Instant::now() + settle;
        let known = self.queue_watches.iter().find(|watch| watch.towards == towards);
        let until = known.map_or(until, |known| known.until.max(until));
        self.queue_watches.retain(|watch| watch.towards != towards);
        self.queue_watches.push(QueueWatch { towards, until, quiet: 0, busy: 0, next_at });
    }
}

impl Handler<NodeCalled> for NodeLink {
    type Result = ();

    fn handle(&mut self, _: NodeCalled, _: &mut Context<Self>) {
        self.pacing = Pacing::new(self.home.clock.now());
    }
}

impl Handler<ChangeSettings> for NodeLink {
    type Result = ();

    fn handle(&mut self, ChangeSettings { settings }: ChangeSettings, _: &mut Context<Self>) {
        self.settings = settings;
    }
}

impl Handler<ReopenLink> for NodeLink {
    type Result = ();

    fn handle(&mut self, _: ReopenLink, _: &mut Context<Self>) {
        info!(parent: &self.span, "killed; the connection is opened again");
        self.close();
        self.pacing = Pacing::new(self.home.clock.now());
    }
}

impl Handler<EndLink> for NodeLink {
    type Result = ();

    fn handle(&mut self, _: EndLink, ctx: &mut Context<Self>) {
        ctx.stop();
    }
}

impl Handler<GetFacts> for NodeLink {
    type Result = LinkFacts;

    fn handle(&mut self, _: GetFacts, _: &mut Context<Self>) -> LinkFacts {
        let (state, op) = match &self.wire {
            Wire::Closed => (ThreadState::Wait, ""),
            Wire::Connecting { .. } => (ThreadState::Connect, ""),
            Wire::Open(open) => match &open.exchange {
                None => (ThreadState::Wait, ""),
                Some(exchange) => (ThreadState::Execute, exchange.question.name()),
            },
        };
        let waiting = self.unacknowledged_since.filter(|_| self.must_push().is_some());
        LinkFacts {
            thread: self.thread,
            node: self.node.clone(),
            thread_type: self.thread_type,
            state,
            op,
            uptime: self.made.elapsed().as_secs(),
            queue: u64::from(waiting.is_some()),
            behind: waiting.map_or(0, |since| since.elapsed().as_secs()),
            traffic: self.traffic,
        }
    }
}
