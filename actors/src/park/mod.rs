//! The relay of a cluster: stands in for a master while it is swapped, and holds its writes. Reads
//! that reach it go on to the old master.
//!
//! The topology orders it: open, release to the new master, close. Nodes find it in the map as the
//! partition's master (flare-protocol.md 12, park). It decides nothing; if it dies, the held
//! writes fail unacknowledged, and the core takes the swap back.

mod connection;
mod messages;

use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use actix::{
    Actor, ActorFutureExt, AsyncContext, Context, Handler, Recipient, SpawnHandle, WrapFuture,
};
use flare_core::model::NodeKey;
use tokio::sync::watch;
use tracing::{debug, info, warn};

pub use connection::{HELD_BYTES_MAX, Phase};
pub use messages::*;

use crate::net::{self, Listener, Network, Stream};
use crate::obituary::Obituary;
use crate::topology::{RelayEnded, RelayOpened};

/// Connections that the relay takes: two from each node of a large cluster (`proxy-concurrency`).
/// One more is closed, and its node tries again (flare-protocol.md 5.4).
pub const CONNECTIONS_MAX: usize = 4096;

/// The relay ends after this, whatever happened to those who ordered it; a swap takes 30 ms.
pub const OPEN_MAX: Duration = Duration::from_secs(15);

/// After it is closed, connections may finish what they pass on for this long.
const CLOSING_MAX: Duration = Duration::from_secs(1);

/// What a relay is made of.
pub struct Parts {
    /// How to listen and to reach the new master.
    pub network: Rc<dyn Network>,
    /// Whom to tell that it stands.
    pub opened: Recipient<RelayOpened>,
    /// Whom to tell that it ended by itself.
    pub ended: Recipient<RelayEnded>,
    /// Tells the process of this actor's end.
    pub obituary: Option<Obituary>,
}

/// Owns the relay of one cluster; at most one at a time, as there is one swap at a time.
pub struct ParkActor {
    network: Rc<dyn Network>,
    opened: Recipient<RelayOpened>,
    ended: Recipient<RelayEnded>,
    /// Set by [`OpenRelay`], taken by [`CloseRelay`] and by its own end.
    relay: Option<Relay>,
    /// Connections that are open, of this relay and of former ones.
    connections: usize,
    _obituary: Option<Obituary>,
}

struct Relay {
    phase: watch::Sender<Phase>,
    /// A release was ordered, though its target may not be resolved yet.
    releasing: bool,
    accepting: SpawnHandle,
    expiry: SpawnHandle,
}

impl ParkActor {
    /// A relay that does not stand yet.
    pub fn new(parts: Parts) -> Self {
        Self {
            network: parts.network,
            opened: parts.opened,
            ended: parts.ended,
            relay: None,
            connections: 0,
            _obituary: parts.obituary,
        }
    }

    fn listen(
        &mut self,
        (from, reads_to): (IpAddr, SocketAddr),
        ctx: &mut Context<Self>,
    ) -> io::Result<NodeKey> {
        let listener = net::listen(SocketAddr::new(from, 0))?;
        let at = listener.local_addr()?;
        let (phase, watched) = watch::channel(Phase::Holding);
        let accepting = self.accept(listener, (watched, reads_to), ctx);
        let expiry = ctx.run_later(OPEN_MAX, |park, ctx| {
            warn!("the relay was not closed in time; it ends");
            park.end(ctx);
            park.ended.do_send(RelayEnded);
        });
        self.relay = Some(Relay { phase, releasing: false, accepting, expiry });
        info!(%at, "the relay stands");
        Ok(NodeKey::new(&at.ip().to_string(), i32::from(at.port())))
    }

    /// Takes the next connection, and then the one after it.
    fn accept(
        &mut self,
        mut listener: Box<dyn Listener>,
        (phase, reads_to): (watch::Receiver<Phase>, SocketAddr),
        ctx: &mut Context<Self>,
    ) -> SpawnHandle {
        let accepted = async move {
            let next = poll_fn(|cx| listener.poll_accept(cx)).await;
            (next, listener)
        };
        let taken = accepted.into_actor(self).map(move |(next, listener), park, ctx| {
            match next {
                Ok((stream, peer)) => {
                    debug!(%peer, "a node sends to the relay");
                    park.serve(stream, (phase.clone(), reads_to), ctx);
                }
                // The one that came is gone; the next may be well.
                Err(error) => warn!(%error, "the relay could not take a connection"),
            }
            let accepting = park.accept(listener, (phase, reads_to), ctx);
            if let Some(relay) = &mut park.relay {
                relay.accepting = accepting;
            }
        });
        ctx.spawn(taken)
    }

    fn serve(
        &mut self,
        stream: Box<dyn Stream>,
        (phase, reads_to): (watch::Receiver<Phase>, SocketAddr),
        ctx: &mut Context<Self>,
    ) {
        if self.connections >= CONNECTIONS_MAX {
            warn!(connections = self.connections, "the relay has too many connections");
            return;
        }
        self.connections += 1;
        let network = Rc::clone(&self.network);
        let served = connection::serve(stream, phase, (network, reads_to));
        ctx.spawn(served.into_actor(self).map(|ended, park, _| {
            park.connections -= 1;
            if let Err(error) = ended {
                warn!(%error, "a connection of the relay broke; its request fails unacknowledged");
            }
        }));
    }

    /// No further connection; those that are open pass on what is under way.
    fn end(&mut self, ctx: &mut Context<Self>) {
        let Some(relay) = self.relay.take() else { return };
        ctx.cancel_future(relay.accepting);
        ctx.cancel_future(relay.expiry);
        if !relay.releasing {
            relay.phase.send_replace(Phase::Closed);
            return;
        }
        let phase = relay.phase;
        ctx.run_later(CLOSING_MAX, move |_, _| {
            phase.send_replace(Phase::Closed);
        });
    }
}

/// Where a node listens.
async fn address_of(network: &dyn Network, node: &NodeKey) -> io::Result<SocketAddr> {
    let port = u16::try_from(node.port()).map_err(io::Error::other)?;
    let addresses = network.resolve(node.name()).await?;
    let address = addresses.first().ok_or_else(|| io::Error::other("no address"))?;
    Ok(SocketAddr::new(*address, port))
}

impl Actor for ParkActor {
    type Context = Context<Self>;
}

impl Handler<OpenRelay> for ParkActor {
    type Result = ();

    fn handle(&mut self, OpenRelay { reads_to }: OpenRelay, ctx: &mut Context<Self>) {
        self.end(ctx);
        let network = Rc::clone(&self.network);
        let found = async move {
            let reads_to = address_of(&*network, &reads_to).await?;
            Ok((network.address_towards(reads_to.ip())?, reads_to))
        };
        ctx.spawn(found.into_actor(self).map(|from, park, ctx| {
            let relay = from.and_then(|found| park.listen(found, ctx));
            if let Err(error) = &relay {
                warn!(%error, "the relay could not be opened; writes are refused instead of held");
            }
            park.opened.do_send(RelayOpened { relay: relay.ok() });
        }));
    }
}

impl Handler<ReleaseRelay> for ParkActor {
    type Result = ();

    fn handle(&mut self, ReleaseRelay { to }: ReleaseRelay, ctx: &mut Context<Self>) {
        let Some(relay) = &mut self.relay else { return };
        relay.releasing = true;
        let phase = relay.phase.clone();
        let network = Rc::clone(&self.network);
        let target = async move { address_of(&*network, &to).await };
        ctx.spawn(target.into_actor(self).map(move |target, _, _| match target {
            Ok(target) => {
                phase.send_replace(Phase::Released(target));
            }
            Err(error) => {
                warn!(%error, "the relay cannot reach the new master; held writes fail");
                phase.send_replace(Phase::Closed);
            }
        }));
    }
}

impl Handler<CloseRelay> for ParkActor {
    type Result = ();

    fn handle(&mut self, _: CloseRelay, ctx: &mut Context<Self>) {
        self.end(ctx);
    }
}
