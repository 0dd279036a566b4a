//! The relay of a cluster: stands in for a master while it is swapped, and holds its writes. Reads
//! that reach it go on to the old master.
//!
//! The topology orders it: open, release to the new master, close. Nodes find it in the map as the
//! partition's master (flare-protocol.md 12, park). It decides nothing; if it dies, the held
//! writes fail unacknowledged, and the core takes the swap back.

mod connection;
mod messages;

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context as TaskContext, Poll, ready};
use std::time::Duration;

use actix::{
    Actor, ActorFuture, ActorFutureExt, AsyncContext, Context, Handler, Recipient, SpawnHandle,
    WrapFuture,
};
use flare_core::model::NodeKey;
use tokio::sync::watch;
use tracing::{debug, info, warn};

pub use connection::Phase;
pub use messages::*;

use crate::accepting::{AcceptFailed, Acceptor};
use crate::net::{self, Network, Stream};
use crate::obituary::Obituary;
use crate::topology::{RelayEnded, RelayOpened, RelayReached};
use connection::Held;

/// Connections that the relay takes: two from each node of a large cluster (`proxy-concurrency`).
/// One more is closed, and its node tries again (flare-protocol.md 5.4).
pub const CONNECTIONS_MAX: usize = 4096;

/// What all of them may hold.
pub const HELD_TOTAL_MAX: usize = 64 << 20;

/// What one connection may hold; beyond it the node is not read from until the release, which
/// makes it wait, and loses nothing.
pub const HELD_BYTES_MAX: usize = HELD_TOTAL_MAX / CONNECTIONS_MAX;

/// Connections that are opened to the new master at a time, each until its first answer: flared
/// lets the kernel keep 30 for it, and one more would be tried again only after a second.
pub const DIALS_MAX: usize = 16;

/// The relay ends after this, whatever happened to those who ordered it; a swap takes 30 ms.
pub const OPEN_MAX: Duration = Duration::from_secs(15);

/// After it is closed, connections may finish what they pass on for this long.
const CLOSING_MAX: Duration = Duration::from_secs(1);

/// What a relay is made of.
pub struct Parts {
    /// How to listen and to reach the new master.
    pub network: Rc<dyn Network>,
    /// Where it listens; 0 is a free port each time.
    pub port: u16,
    /// Whom to tell that it stands.
    pub opened: Recipient<RelayOpened>,
    /// Whom to tell that a node has connected.
    pub reached: Recipient<RelayReached>,
    /// Whom to tell that it ended by itself.
    pub ended: Recipient<RelayEnded>,
    /// Tells the process of this actor's end.
    pub obituary: Option<Obituary>,
}

/// Owns the relay of one cluster; at most one at a time, as there is one swap at a time.
pub struct ParkActor {
    network: Rc<dyn Network>,
    port: u16,
    opened: Recipient<RelayOpened>,
    reached: Recipient<RelayReached>,
    ended: Recipient<RelayEnded>,
    /// Set by [`OpenRelay`], taken by [`CloseRelay`] and by its own end.
    relay: Option<Relay>,
    /// Connections that are open, of this relay and of former ones.
    connections: usize,
    /// Those that were released and are not connected to the new master yet.
    released: VecDeque<Held>,
    /// Those of which that is being done.
    dials: usize,
    _obituary: Option<Obituary>,
}

struct Relay {
    number: u64,
    acceptor: Acceptor,
    reads_to: SocketAddr,
    peers: Option<BTreeSet<IpAddr>>,
    /// A node connected.
    is_reached: bool,
    /// Somebody who may not connect did.
    strangers: bool,
    phase: watch::Sender<Phase>,
    expiry: SpawnHandle,
}

impl ParkActor {
    /// A relay that does not stand yet.
    pub fn new(parts: Parts) -> Self {
        Self {
            network: parts.network,
            port: parts.port,
            opened: parts.opened,
            reached: parts.reached,
            ended: parts.ended,
            relay: None,
            connections: 0,
            released: VecDeque::new(),
            dials: 0,
            _obituary: parts.obituary,
        }
    }

    fn listen(&mut self, order: OpenRelay, ctx: &mut Context<Self>) -> io::Result<NodeKey> {
        let OpenRelay { number, reads_to, peers } = order;
        // What is a loopback address here is another machine's own there.
        let elsewhere = peers.iter().flatten().find(|peer| !peer.is_loopback());
        let from = self.network.address_towards(*elsewhere.unwrap_or(&reads_to.ip()))?;
        let listener = net::listen(SocketAddr::new(from, self.port))?;
        let at = listener.local_addr()?;
        let expiry = ctx.run_later(OPEN_MAX, move |park, ctx| {
            warn!("the relay was not closed in time; it ends");
            park.end(ctx);
            park.ended.do_send(RelayEnded { number });
        });
        self.relay = Some(Relay {
            number,
            acceptor: Acceptor::new(listener),
            reads_to,
            peers,
            is_reached: false,
            strangers: false,
            phase: watch::Sender::new(Phase::Holding),
            expiry,
        });
        info!(number, %at, "the relay stands");
        Ok(NodeKey::new(&at.ip().to_string(), i32::from(at.port())))
    }

    /// Accepts until nobody waits.
    fn accept(&mut self, cx: &mut TaskContext<'_>, ctx: &mut Context<Self>) -> Poll<()> {
        loop {
            let Some(relay) = &mut self.relay else { return Poll::Pending };
            match ready!(relay.acceptor.poll_accept(cx)) {
                Ok((stream, peer)) => self.admit(stream, peer, ctx),
                Err(AcceptFailed { error, pause }) => {
                    warn!(%error, ?pause, "the relay cannot take connections; trying again");
                }
            }
        }
    }

    fn admit(&mut self, stream: Box<dyn Stream>, peer: SocketAddr, ctx: &mut Context<Self>) {
        let Some(relay) = &mut self.relay else { return };
        if !relay.peers.as_ref().is_none_or(|peers| is_one_of(&*self.network, peers, peer.ip())) {
            // Once for each relay: a stranger must not fill the log.
            if !std::mem::replace(&mut relay.strangers, true) {
                let number = relay.number;
                warn!(number, %peer, "no node: its connection to the relay is closed");
            }
            return;
        }
        if self.connections >= CONNECTIONS_MAX {
            warn!(connections = self.connections, "the relay has too many connections");
            return;
        }
        debug!(%peer, "a node sends to the relay");
        if !std::mem::replace(&mut relay.is_reached, true) {
            self.reached.do_send(RelayReached { number: relay.number });
        }
        self.connections += 1;
        let network = Rc::clone(&self.network);
        let held = connection::hold(stream, relay.phase.subscribe(), (network, relay.reads_to));
        ctx.spawn(held.into_actor(self).map(|held, park, ctx| match held {
            Ok(Some(held)) => {
                park.released.push_back(held);
                park.dial(ctx);
            }
            ended => park.ended(ended.err()),
        }));
    }

    /// Connects those that were released, some at a time.
    fn dial(&mut self, ctx: &mut Context<Self>) {
        while self.dials < DIALS_MAX {
            let Some(held) = self.released.pop_front() else { return };
            self.dials += 1;
            let connected = connection::hand_over(held, Rc::clone(&self.network));
            ctx.spawn(connected.into_actor(self).map(|connected, park, ctx| {
                park.dials -= 1;
                match connected {
                    Ok(Some(passing)) => {
                        let passed = connection::pass_on(passing).into_actor(park);
                        ctx.spawn(passed.map(|passed, park, _| park.ended(passed.err())));
                    }
                    ended => park.ended(ended.err()),
                }
                park.dial(ctx);
            }));
        }
    }

    /// A connection ended.
    fn ended(&mut self, error: Option<io::Error>) {
        self.connections -= 1;
        if let Some(error) = error {
            warn!(%error, "a connection of the relay broke; its request fails unacknowledged");
        }
    }

    /// No further connection; those that are open pass on what is under way.
    fn end(&mut self, ctx: &mut Context<Self>) {
        let Some(relay) = self.relay.take() else { return };
        ctx.cancel_future(relay.expiry);
        let phase = relay.phase;
        if *phase.borrow() == Phase::Holding {
            phase.send_replace(Phase::Closed);
            return;
        }
        ctx.run_later(CLOSING_MAX, move |_, _| {
            phase.send_replace(Phase::Closed);
        });
    }
}

/// Is this one of those hosts? The index's own addresses count as each other.
fn is_one_of(network: &dyn Network, hosts: &BTreeSet<IpAddr>, peer: IpAddr) -> bool {
    let is_local = |address: &IpAddr| network.is_local(*address);
    hosts.contains(&peer) || is_local(&peer) && hosts.iter().any(is_local)
}

/// The future of the actor that accepts while there is a relay; never ends.
struct Accept;

impl ActorFuture<ParkActor> for Accept {
    type Output = ();

    fn poll(
        self: Pin<&mut Self>,
        park: &mut ParkActor,
        ctx: &mut Context<ParkActor>,
        task: &mut TaskContext<'_>,
    ) -> Poll<()> {
        park.accept(task, ctx)
    }
}

impl Actor for ParkActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        ctx.spawn(Accept);
    }
}

impl Handler<OpenRelay> for ParkActor {
    type Result = ();

    fn handle(&mut self, order: OpenRelay, ctx: &mut Context<Self>) {
        self.end(ctx);
        let number = order.number;
        let relay = self.listen(order, ctx);
        if let Err(error) = &relay {
            warn!(%error, "the relay could not be opened; writes are refused instead of held");
        }
        self.opened.do_send(RelayOpened { number, relay: relay.ok() });
    }
}

impl Handler<ReleaseRelay> for ParkActor {
    type Result = ();

    fn handle(&mut self, ReleaseRelay { to }: ReleaseRelay, _: &mut Context<Self>) {
        if let Some(relay) = &self.relay {
            relay.phase.send_replace(Phase::Released(to));
        }
    }
}

impl Handler<CloseRelay> for ParkActor {
    type Result = ();

    fn handle(&mut self, _: CloseRelay, ctx: &mut Context<Self>) {
        self.end(ctx);
    }
}
