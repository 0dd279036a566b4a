//! The links of a cluster: one for each node of the published map, made and ended here.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, Addr, AsyncContext, Context, Handler};
use flare_core::model::NodeKey;
use flare_core::topology::Snapshot;
use tracing::error;

use super::{LinkDied, NodeReached, TopologyActor};
use crate::link::{self, EndLink, NodeLink, PushMap};
use crate::obituary::Obituary;

/// Links have even thread ids from here, sessions odd ones: both are handed out without asking
/// anyone, and no two are the same. 1 and 2 are the controller and the alarm
/// (flare-protocol.md 3.8).
pub(super) const FIRST_THREAD: u32 = 4;
const THREAD_STEP: u32 = 2;

/// How long a link that ended by a bug is left alone; a panic that repeats must not eat the
/// processor.
const REVIVAL_PAUSE: Duration = Duration::from_secs(1);

/// What the topology knows of one link.
pub(super) struct LinkHandle {
    pub(super) addr: Addr<NodeLink>,
    pub(super) thread: u32,
    /// The newest map that this node may be told of.
    released: Option<Arc<Snapshot>>,
}

impl LinkHandle {
    /// The node may be told of this map; the link sends the newest that it knows.
    pub(super) fn release(&mut self, snapshot: &Arc<Snapshot>) {
        self.released = Some(Arc::clone(snapshot));
        // Not bounded by the mailbox, but handled at once: a link only keeps the newest.
        self.addr.do_send(PushMap { snapshot: Arc::clone(snapshot) });
    }
}

impl TopologyActor {
    /// Makes and ends links until there is one for each node of `snapshot`. At the start all
    /// nodes may be told of the stored map; later the core releases each map to each node.
    pub(super) fn match_links(
        &mut self,
        snapshot: &Arc<Snapshot>,
        released: bool,
        ctx: &mut Context<Self>,
    ) {
        // The relay of a handover is in the map, but is no node.
        let relay = snapshot.stored().handover.as_ref().and_then(|it| it.relay.as_ref());
        let nodes = || snapshot.entries().filter(|(node, _)| Some(*node) != relay);
        // Both are in the same order, and most maps have the nodes of the one before.
        if self.links.keys().eq(nodes().map(|(node, _)| node)) {
            return;
        }
        let wanted: BTreeSet<&NodeKey> = nodes().map(|(node, _)| node).collect();
        self.links.retain(|node, link| {
            let stays = wanted.contains(node);
            if !stays {
                link.addr.do_send(EndLink);
            }
            stays
        });
        self.addresses.send_if_modified(|known| {
            let gone = known.keys().any(|node| !wanted.contains(node));
            if gone {
                Arc::make_mut(known).retain(|node, _| wanted.contains(node));
            }
            gone
        });
        for (node, entry) in nodes() {
            if !self.links.contains_key(node) {
                let map =
                    (released && self.topology.tells_at_once(node)).then(|| Arc::clone(snapshot));
                let handle = self.start_link(node, entry.thread_type, map, ctx);
                self.links.insert(node.clone(), handle);
            }
        }
    }

    fn start_link(
        &mut self,
        node: &NodeKey,
        thread_type: u32,
        released: Option<Arc<Snapshot>>,
        ctx: &Context<Self>,
    ) -> LinkHandle {
        let thread = self.next_link_thread;
        self.next_link_thread += THREAD_STEP;
        let dead = node.clone();
        let obituary = Obituary::to_actor(&ctx.address(), move |end| LinkDied {
            node: dead.clone(),
            thread,
            end,
        });
        let addr = NodeLink::new(link::Parts {
            node: node.clone(),
            thread,
            thread_type,
            released: released.clone(),
            settings: self.monitoring,
            home: Rc::clone(&self.link_home),
            obituary: Some(obituary),
        })
        .start();
        LinkHandle { addr, thread, released }
    }
}

impl Handler<NodeReached> for TopologyActor {
    type Result = ();

    fn handle(&mut self, NodeReached { node, found }: NodeReached, _: &mut Context<Self>) {
        // A link that was told to end may have a word left.
        if self.links.contains_key(&node) {
            self.addresses.send_modify(|known| {
                Arc::make_mut(known).insert(node, found);
            });
        }
    }
}

impl Handler<LinkDied> for TopologyActor {
    type Result = ();

    fn handle(&mut self, LinkDied { node, thread, end }: LinkDied, ctx: &mut Context<Self>) {
        let is_ours = self.links.get(&node).is_some_and(|link| link.thread == thread);
        if !is_ours || !self.finishing.is_empty() {
            return;
        }
        error!(%node, thread, %end, "the link to a node ended by a bug; it is made again");
        ctx.run_later(REVIVAL_PAUSE, move |topology, ctx| topology.revive_link(&node, thread, ctx));
    }
}

impl TopologyActor {
    fn revive_link(&mut self, node: &NodeKey, thread: u32, ctx: &Context<Self>) {
        let Some(dead) = self.links.get(node).filter(|link| link.thread == thread) else {
            return;
        };
        let released = dead.released.clone();
        let Some(entry) = self.published.borrow().snapshot.node(node).map(|node| node.entry) else {
            return;
        };
        let handle = self.start_link(node, entry.thread_type, released, ctx);
        self.links.insert(node.clone(), handle);
    }
}
