//! Ending the connections of a node's clients, before its partition is handed over.
//!
//! A node shows who is connected, but not who is a client: other nodes and the index are told from
//! clients by their addresses alone. So the names of all nodes are resolved first; when one cannot
//! be, no connection is ended, since it could be that node's. A client on the same address as a
//! node is taken for that node.
//!
//! A connection that is ended has not gone: a flared first finishes the write that it is at, and
//! answers it (seen: held for a second by a slave that hung, and told `STORED` then). If the node
//! learns meanwhile that it is no master any more, that write is sent on to nobody. So it is looked
//! until the connections that were ended are gone.

use std::collections::{BTreeSet, VecDeque};
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use actix::{ActorFutureExt, AsyncContext, Context, Handler, Message, WrapFuture};
use bytes::Bytes;
use flare_core::model::NodeKey;
use flare_core::protocol::node::client_threads::ClientThread;
use tokio::time::Instant;
use tracing::{info, warn};

use super::exchange::Question;
use super::{EndClients, NodeLink, RESOLVE_DEADLINE};
use crate::net::Network;
use crate::topology::ClientsEnded;

/// How long it is waited until connections that were ended have gone: half of what a handover
/// allows for all of this (`CLIENTS_MILLIS_MAX`).
const GONE_PATIENCE: Duration = Duration::from_millis(500);

/// How often it is looked whether they have.
const GONE_LOOK_PAUSE: Duration = Duration::from_millis(2);

/// How far the ending of client connections is.
pub(super) enum ClientHunt {
    /// The node is to be asked who is connected; these addresses are no clients.
    List(BTreeSet<IpAddr>),
    /// These connections are to be ended, the first is being; those were.
    Kill { threads: VecDeque<u32>, ended: BTreeSet<u32> },
    /// These were ended: are they gone?
    Watch { ended: BTreeSet<u32>, until: Instant, next_at: Instant },
}

/// Who is no client, or the node whose name cannot be resolved. A message, since the link's
/// connection is moved on after each of them, and else only when the timer is due.
#[derive(Message)]
#[rtype(result = "()")]
struct NodesFound(Result<BTreeSet<IpAddr>, NodeKey>);

impl Handler<EndClients> for NodeLink {
    type Result = ();

    fn handle(&mut self, _: EndClients, ctx: &mut Context<Self>) {
        let nodes: Vec<NodeKey> = {
            let published = self.home.published.borrow();
            published.snapshot.entries().map(|(key, _)| key.clone()).collect()
        };
        let found = addresses(Rc::clone(&self.home.network), nodes).into_actor(self);
        let told = found.map(|found, _, ctx: &mut Context<Self>| {
            ctx.address().do_send(NodesFound(found));
        });
        ctx.spawn(told);
    }
}

impl Handler<NodesFound> for NodeLink {
    type Result = ();

    fn handle(&mut self, NodesFound(found): NodesFound, _: &mut Context<Self>) {
        match (found, self.last_address()) {
            (Ok(mut nodes), Some(address)) => {
                nodes.extend(self.home.network.address_towards(address.ip()));
                self.client_hunt = Some(ClientHunt::List(nodes));
            }
            (Err(node), _) => {
                warn!(parent: &self.span, %node, "its name cannot be resolved, and its \
                      connections could be taken for clients': none is ended");
                self.tell_clients_ended();
            }
            (_, None) => self.tell_clients_ended(),
        }
    }
}

/// The addresses of these nodes, or the first node whose name does not lead to one.
async fn addresses(
    network: Rc<dyn Network>,
    nodes: Vec<NodeKey>,
) -> Result<BTreeSet<IpAddr>, NodeKey> {
    let names: BTreeSet<String> = nodes.iter().map(|node| node.name().to_owned()).collect();
    let lookups = names.into_iter().map(|name| {
        let resolved = network.resolve(&name);
        async move { (name, tokio::time::timeout(RESOLVE_DEADLINE, resolved).await) }
    });
    let mut all = BTreeSet::new();
    for (name, found) in futures_util::future::join_all(lookups).await {
        match found {
            Ok(Ok(found)) if !found.is_empty() => all.extend(found),
            _ => {
                return Err(nodes
                    .into_iter()
                    .find(|node| node.name() == name)
                    .unwrap_or(NodeKey::new(&name, 0)));
            }
        }
    }
    Ok(all)
}

impl NodeLink {
    /// What is to be asked next for it.
    pub(super) fn next_of_hunt(&self, now: Instant) -> Option<(Question, Bytes)> {
        match self.client_hunt.as_ref()? {
            ClientHunt::List(_) => Some(Question::list_clients()),
            ClientHunt::Kill { threads, .. } => threads.front().copied().map(Question::kill),
            ClientHunt::Watch { next_at, .. } => (now >= *next_at).then(Question::list_clients),
        }
    }

    /// When it is to be looked again at connections that were ended.
    pub(super) fn hunt_due(&self) -> Option<Instant> {
        match self.client_hunt.as_ref()? {
            ClientHunt::Watch { next_at, .. } => Some(*next_at),
            ClientHunt::List(_) | ClientHunt::Kill { .. } => None,
        }
    }

    /// The node said who is connected.
    pub(super) fn clients_listed(&mut self, connected: &[ClientThread]) {
        match self.client_hunt.take() {
            Some(ClientHunt::List(nodes)) => {
                let clients = connected.iter().filter(|client| !nodes.contains(&client.peer));
                let threads = clients.map(|client| client.thread).collect();
                self.kill_next(threads, BTreeSet::new());
            }
            Some(ClientHunt::Watch { ended, until, .. }) => {
                let now = Instant::now();
                let left = connected.iter().filter(|client| ended.contains(&client.thread)).count();
                if left > 0 && now < until {
                    let next_at = now + GONE_LOOK_PAUSE;
                    self.client_hunt = Some(ClientHunt::Watch { ended, until, next_at });
                    return;
                }
                if left > 0 {
                    warn!(parent: &self.span, left, "connections that were ended are at a write \
                          still, which may be lost");
                }
                self.end_hunt(ended.len());
            }
            Some(ClientHunt::Kill { .. }) | None => {}
        }
    }

    /// The connection was ended, or had ended by itself.
    pub(super) fn client_ended(&mut self, was_there: bool) {
        if let Some(ClientHunt::Kill { mut threads, mut ended }) = self.client_hunt.take() {
            let thread = threads.pop_front();
            ended.extend(thread.filter(|_| was_there));
            self.kill_next(threads, ended);
        }
    }

    fn kill_next(&mut self, threads: VecDeque<u32>, ended: BTreeSet<u32>) {
        if threads.is_empty() && ended.is_empty() {
            self.end_hunt(0);
        } else if threads.is_empty() {
            let next_at = Instant::now();
            let until = next_at + GONE_PATIENCE;
            self.client_hunt = Some(ClientHunt::Watch { ended, until, next_at });
        } else {
            self.client_hunt = Some(ClientHunt::Kill { threads, ended });
        }
    }

    fn end_hunt(&mut self, ended: usize) {
        info!(parent: &self.span, ended, "client connections were ended");
        self.client_hunt = None;
        self.tell_clients_ended();
    }

    /// The connection to the node ended: what was not done stays undone.
    pub(super) fn abandon_hunt(&mut self) {
        if self.client_hunt.take().is_some() {
            self.tell_clients_ended();
        }
    }

    fn tell_clients_ended(&self) {
        self.home.topology.clients_ended.do_send(ClientsEnded { node: self.node.clone() });
    }
}
