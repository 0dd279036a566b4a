//! Having a node make its connections to a relay, by reads (core's handover says why).
//!
//! On a connection of its own: the reads wait for the old master, who may hang, and the node must
//! not look silent for that.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use actix::{ActorFutureExt, AsyncContext, Context, Handler, WrapFuture};
use flare_core::protocol::line::LineBuffer;
use flare_core::protocol::node::{Connect, connect, take};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep, timeout_at};
use tracing::{info, warn};

use super::{IntroduceRelay, NodeLink};
use crate::net::Network;
use crate::topology::NodeIntroduced;

/// Between two requests: clients' writes come first.
const REQUEST_PAUSE: Duration = Duration::from_millis(1);

impl Handler<IntroduceRelay> for NodeLink {
    type Result = ();

    fn handle(&mut self, order: IntroduceRelay, ctx: &mut Context<Self>) {
        let deadline = self.home.clock.instant(order.until);
        let (network, address) = (Rc::clone(&self.home.network), self.last_address());
        let towards = order.towards;
        let began = Instant::now();
        let read = async move {
            let address = address.ok_or(io::ErrorKind::NotConnected)?;
            let reads = read_until_connected(&*network, address, &order);
            timeout_at(deadline, reads).await.map_err(|_| io::ErrorKind::TimedOut)?
        };
        ctx.spawn(read.into_actor(self).map(move |read, link, _| {
            let took = began.elapsed();
            match read {
                Ok(requests) => info!(
                    parent: &link.span, towards, requests, ?took,
                    "the node has connections to the relay"
                ),
                Err(error) => warn!(
                    parent: &link.span, towards, %error, ?took,
                    "the node has no connections to the relay; it may refuse a write"
                ),
            }
            let node = link.node.clone();
            link.home.topology.introduced.do_send(NodeIntroduced { node });
        }));
    }
}

/// Reads until the node's threads towards the relay are there, none of them is busy, and the next
/// look shows no more of them: a node makes one after the other. How many requests that took.
async fn read_until_connected(
    network: &dyn Network,
    address: SocketAddr,
    order: &IntroduceRelay,
) -> io::Result<u32> {
    let mut node = network.connect(address).await?;
    let request = connect::request(&order.request);
    let mut lines = LineBuffer::for_replies();
    let mut seen = 0;
    for requests in 1.. {
        node.write_all(&request).await?;
        let mut reply = Connect::default();
        let threads = loop {
            if let Some(threads) = take(&mut reply, &mut lines).map_err(io::Error::other)? {
                break threads;
            }
            if node.read_buf(lines.read_buffer()).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        };
        let relay = threads.of_kind(order.towards);
        let stand = if relay.busy == 0 { relay.threads } else { 0 };
        if stand > 0 && stand == seen {
            return Ok(requests);
        }
        seen = stand;
        sleep(REQUEST_PAUSE).await;
    }
    unreachable!("the loop has no end")
}
