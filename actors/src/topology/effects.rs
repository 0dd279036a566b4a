//! Carries out the steps of the core, in order.

use std::sync::Arc;
use std::time::Duration;

use actix::{AsyncContext, Context};
use flare_core::model::{NodeKey, Timestamp};
use flare_core::topology::{Effect, Event, Input, Mode, Snapshot, Step, Targets};
use tracing::warn;

use super::{EVENTS_KEPT, Published, TopologyActor, report};
use crate::failover::MapPublished;
use crate::link::{
    ConnectNode, EmptyNode, EndClients, ForgetKeys, FreeStuckWriters, IntroduceRelay, ProbeNode,
    WatchQueue,
};
use crate::overview::EventRecord;
use crate::park::{CloseRelay, OpenRelay, ReleaseRelay};

impl TopologyActor {
    pub(super) fn carry_out(&mut self, step: Step, ctx: &mut Context<Self>) {
        if let Some(stored) = step.persist {
            self.write(stored, ctx);
        }
        for effect in step.effects {
            self.carry_out_effect(effect, ctx);
        }
    }

    fn carry_out_effect(&mut self, effect: Effect, ctx: &mut Context<Self>) {
        match effect {
            Effect::Publish(snapshot) => self.publish(snapshot, ctx),
            Effect::Push { snapshot, to } => self.push(&snapshot, &to),
            Effect::Reply { request, answer } => {
                if let flare_core::topology::Answer::Refused(refusal) = &answer {
                    self.metrics.refused(refusal);
                }
                self.answer(request, answer);
            }
            Effect::Probe { node } => {
                if let Some(link) = self.links.get(&node) {
                    link.addr.do_send(ProbeNode);
                }
            }
            Effect::Empty { node, intent, incarnation } => match self.links.get(&node) {
                Some(link) => link.addr.do_send(EmptyNode { intent, incarnation }),
                None => {
                    let input = Input::Emptied { node, intent, ok: false };
                    self.submit(input, None, ctx);
                }
            },
            Effect::Connect { node, version, request, towards } => match self.links.get(&node) {
                Some(link) => link.addr.do_send(ConnectNode { version, request, towards }),
                None => {
                    let missing = towards.clone();
                    self.submit(Input::Connected { node, towards, missing }, None, ctx);
                }
            },
            Effect::ForgetKeys { node } => {
                if let Some(link) = self.links.get(&node) {
                    link.addr.do_send(ForgetKeys);
                }
            }
            Effect::FreeStuckWriters { node } => {
                if let Some(link) = self.links.get(&node) {
                    link.addr.do_send(FreeStuckWriters);
                }
            }
            Effect::EndClients { node } => match self.links.get(&node) {
                Some(link) => link.addr.do_send(EndClients),
                None => self.submit(Input::ClientsEnded { node }, None, ctx),
            },
            Effect::OpenRelay { reads_to } => self.open_relay(&reads_to, ctx),
            Effect::Introduce { node, request, towards, until } => match self.links.get(&node) {
                Some(link) => link.addr.do_send(IntroduceRelay { request, towards, until }),
                None => self.submit(Input::Introduced { node }, None, ctx),
            },
            Effect::ReleaseRelay { to } => self.release_relay(&to),
            Effect::CloseRelay => self.relay.do_send(CloseRelay),
            Effect::WatchQueue { node, towards, until, settle_millis } => {
                if let Some(link) = self.links.get(&node) {
                    let settle = Duration::from_millis(settle_millis);
                    link.addr.do_send(WatchQueue { towards, until, settle });
                }
            }
            Effect::WakeAt(at) => self.wake_at(at, ctx),
            Effect::Happened(event) => self.happened(event),
        }
    }

    fn publish(&mut self, snapshot: Arc<Snapshot>, ctx: &mut Context<Self>) {
        self.match_links(&snapshot, false, ctx);
        self.failover.do_send(MapPublished { snapshot: Arc::clone(&snapshot) });
        self.published.send_replace(Published::new(snapshot));
        self.store_trouble = None;
    }

    fn push(&mut self, snapshot: &Arc<Snapshot>, to: &Targets) {
        self.metrics.broadcast();
        match to {
            Targets::AllBut(left_out) => {
                for (node, link) in &mut self.links {
                    if !left_out.contains(node) {
                        link.release(snapshot);
                    }
                }
            }
            Targets::Only(nodes) => {
                for node in nodes {
                    if let Some(link) = self.links.get_mut(node) {
                        link.release(snapshot);
                    }
                }
            }
        }
    }

    /// The relay stands before the address that the old master's link leads to: no name server may
    /// hold up a swap.
    fn open_relay(&mut self, reads_to: &NodeKey, ctx: &mut Context<Self>) {
        self.relay_number += 1;
        let addresses = Arc::clone(&self.addresses.borrow());
        let Some(found) = addresses.get(reads_to) else {
            warn!(node = %reads_to, "no relay: the old master was never reached");
            return self.submit(Input::RelayOpened { relay: None }, None, ctx);
        };
        // As with commands (R15): by hand anybody may be a node.
        let checked = matches!(self.mode, Mode::Automatic(_));
        let peers = checked
            .then(|| addresses.values().flat_map(|found| found.all.iter().copied()).collect());
        let number = self.relay_number;
        self.relay.do_send(OpenRelay { number, reads_to: found.reached, peers });
    }

    fn release_relay(&self, to: &NodeKey) {
        match self.addresses.borrow().get(to) {
            Some(found) => self.relay.do_send(ReleaseRelay { to: found.reached }),
            None => {
                warn!(node = %to, "the new master was never reached; held writes fail");
                self.relay.do_send(CloseRelay);
            }
        }
    }

    /// One timer; an earlier wish replaces a later one.
    fn wake_at(&mut self, at: Timestamp, ctx: &mut Context<Self>) {
        if let Some((earlier, timer)) = self.wake {
            if earlier <= at {
                return;
            }
            ctx.cancel_future(timer);
        }
        let pause = Duration::from_millis(at.millis_since(self.clock.now()));
        let timer = ctx.run_later(pause, |topology, ctx| {
            topology.wake = None;
            topology.submit(Input::WakeDue, None, ctx);
        });
        self.wake = Some((at, timer));
    }

    /// To the log, to the metrics, and to whoever listens.
    pub(super) fn happened(&mut self, event: Event) {
        report::log(&event);
        self.metrics.happened(&event);
        if let Some(reason) = report::death(&event) {
            self.metrics.node_died(reason);
        }
        match &event {
            Event::StoreFailed { failure } => self.store_trouble = Some(failure.to_string()),
            Event::InvariantBroken { what } => self.invariant_trouble = Some(what.clone()),
            _ => {}
        }
        let record = EventRecord {
            number: self.next_event,
            at_unix_millis: self.clock.unix_millis(),
            event: Arc::new(event),
        };
        self.next_event += 1;
        if self.recent_events.len() == EVENTS_KEPT {
            self.recent_events.pop_front();
        }
        self.recent_events.push_back(record.clone());
        // Nobody may be listening.
        let _ = self.events.send(record);
    }
}
