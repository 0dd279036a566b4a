//! Having a node make its connections to those that it passes writes on to.
//!
//! The request that does it goes out right behind the map that makes it necessary. Where the node
//! has that map already, its `stats threads` show first whether it needs one. They also show which
//! connections are only being made, by this request or by a client's: until they stand, a flared
//! drops what comes for them, and so nobody who waits for the node goes on.

use std::collections::BTreeSet;
use std::time::Duration;

use actix::{Context, Handler};
use bytes::Bytes;
use flare_core::protocol::node::NodeThreads;
use flare_core::topology::{ConnectingRequest, Snapshot};
use tokio::time::Instant;
use tracing::info;

use super::exchange::Question;
use super::{ConnectNode, ForgetKeys, NodeLink};
use crate::topology::{ConnectionsSeen, NodeConnected};

/// How long a key that was written for it stays when nobody says that all nodes know the map.
const FORGET_PAUSE: Duration = Duration::from_millis(500);

/// How long connections that are being made are waited for. It takes a flared a millisecond, on a
/// busy machine 200; one that takes longer is so slow that others must not wait for it.
const BEGIN_PATIENCE: Duration = Duration::from_secs(2);

/// How often it is looked whether they stand.
const BEGIN_LOOK_PAUSE: Duration = Duration::from_millis(1);

/// How far it is.
pub(super) enum Connecting {
    /// The node is to be asked which connections it has.
    Look(ConnectNode),
    /// It is to be asked to pass a key on, or is being.
    Ask(ConnectNode),
    /// It makes them: it is to be asked again and again whether they stand.
    Watch(Begun),
}

/// Connections that a node is making.
pub(super) struct Begun {
    order: ConnectNode,
    /// Was it asked for a key? Else a client's request has them made.
    asked: bool,
    until: Instant,
    next_at: Instant,
}

/// A key that is to be deleted.
pub(super) struct Forgettable {
    written: ConnectingRequest,
    pub(super) at: Instant,
}

impl Handler<ConnectNode> for NodeLink {
    type Result = ();

    fn handle(&mut self, order: ConnectNode, _: &mut Context<Self>) {
        self.connecting = Some(Connecting::Look(order));
    }
}

impl Handler<ForgetKeys> for NodeLink {
    type Result = ();

    fn handle(&mut self, _: ForgetKeys, _: &mut Context<Self>) {
        let now = Instant::now();
        self.forgettable.iter_mut().for_each(|key| key.at = now);
    }
}

impl NodeLink {
    /// What goes with this map, if the node is to connect because of it.
    pub(super) fn ask_behind(&mut self, map: &Snapshot) -> Option<ConnectingRequest> {
        match self.connecting.take() {
            Some(Connecting::Look(order) | Connecting::Ask(order))
                if map.version() >= order.version =>
            {
                let request = order.request.clone();
                self.connecting = Some(Connecting::Ask(order));
                Some(request)
            }
            other => {
                self.connecting = other;
                None
            }
        }
    }

    /// What is to be asked next for it.
    pub(super) fn next_of_connecting(&self, now: Instant) -> Option<(Question, Bytes)> {
        match self.connecting.as_ref()? {
            Connecting::Look(order) | Connecting::Ask(order)
                if order.version > self.acknowledged =>
            {
                None
            }
            Connecting::Look(_) => Some(Question::show_connections()),
            Connecting::Ask(order) => Some(Question::connect(&order.request)),
            Connecting::Watch(begun) => (now >= begun.next_at).then(Question::show_connections),
        }
    }

    /// When it is to be looked at connections that are being made.
    pub(super) fn connections_due(&self) -> Option<Instant> {
        match self.connecting.as_ref()? {
            Connecting::Watch(begun) => Some(begun.next_at),
            Connecting::Look(_) | Connecting::Ask(_) => None,
        }
    }

    /// The node showed which connections it has.
    pub(super) fn connections_shown(&mut self, threads: &NodeThreads) {
        let now = Instant::now();
        let (order, asked, until) = match self.connecting.take() {
            Some(Connecting::Look(order)) => (order, false, now + BEGIN_PATIENCE),
            Some(Connecting::Ask(order)) => (order, true, now + BEGIN_PATIENCE),
            Some(Connecting::Watch(begun)) => (begun.order, begun.asked, begun.until),
            None => return,
        };
        let seen = |kind: &u32| threads.of_kind(*kind);
        if !asked && order.towards.iter().any(|kind| seen(kind).threads == 0) {
            self.connecting = Some(Connecting::Ask(order));
            return;
        }
        if now < until && order.towards.iter().any(|kind| seen(kind).beginning > 0) {
            let next_at = now + BEGIN_LOOK_PAUSE;
            self.connecting = Some(Connecting::Watch(Begun { order, asked, until, next_at }));
            return;
        }
        let kinds = order.towards.iter().copied();
        let missing: Vec<u32> = kinds.filter(|kind| !seen(kind).stand()).collect();
        if asked {
            let ConnectingRequest { key, how } = &order.request;
            info!(
                parent: &self.span, key, ?how, towards = ?order.towards, ?missing,
                "asked for a key so that the node connects to those that it passes it on to"
            );
            if order.request.writes() {
                let at = now + FORGET_PAUSE;
                self.forgettable.push(Forgettable { written: order.request, at });
            } else {
                // Whether it did counts from when it is shown.
                self.probe_wanted = true;
            }
        }
        let (node, towards) = (self.node.clone(), order.towards);
        self.home.topology.connected.do_send(NodeConnected { node, towards, missing });
    }

    /// Which connections it has: told when they are other ones than before.
    pub(super) fn connections_seen(&mut self, towards: BTreeSet<u32>) {
        if self.told_connected.as_ref() != Some(&towards) {
            self.told_connected = Some(towards.clone());
            let node = self.node.clone();
            self.home.topology.connections.do_send(ConnectionsSeen { node, towards });
        }
    }

    /// The deletion of what was written, when it is due.
    pub(super) fn next_to_forget(&mut self, now: Instant) -> Option<(Question, Bytes)> {
        let due = self.forgettable.iter().position(|key| now >= key.at)?;
        Some(Question::forget(&self.forgettable.swap_remove(due).written))
    }
}
