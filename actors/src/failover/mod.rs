//! The failover actor of a cluster: owns the suspicion and the circuit breaker, turns evidence into
//! orders.
//!
//! Links tell it what they saw, the topology which map is published; `flare_core` decides who is
//! dead, who is back, and whether so many are dead that nothing may be done by itself. Orders go
//! to the topology, which may refuse them; they are given again with the next evidence, so nobody
//! waits for an answer.

mod messages;

use std::time::Duration;

use actix::{Actor, Addr, AsyncContext, Context, Handler, MessageResult, Recipient, SpawnHandle};
use flare_core::model::Timestamp;
use flare_core::policy::breaker::BreakerSettings;
use flare_core::policy::failover::Failover;
use flare_core::policy::suspicion::MonitorSettings;
use flare_core::topology::{Input, Snapshot};
use tracing::{debug, error, info};

pub use messages::*;

use crate::clock::Clock;
use crate::obituary::Obituary;
use crate::topology::{
    ChangeBreaker, MarkNodeDown, NoteLapse, ReturnNode, SuspectNode, TopologyActor,
};

/// Evidence that may wait: some rounds of a large cluster. Links have at most one piece under way
/// each, so that it is never reached.
pub const MAILBOX_SIZE: usize = 16 * 1024;

/// The orders that a topology takes from here.
pub struct Orders {
    pub(crate) mark_down: Recipient<MarkNodeDown>,
    pub(crate) give_back: Recipient<ReturnNode>,
    pub(crate) lapse: Recipient<NoteLapse>,
    pub(crate) suspect: Recipient<SuspectNode>,
    pub(crate) breaker: Recipient<ChangeBreaker>,
}

impl From<&Addr<TopologyActor>> for Orders {
    fn from(addr: &Addr<TopologyActor>) -> Self {
        Self {
            mark_down: addr.clone().recipient(),
            give_back: addr.clone().recipient(),
            lapse: addr.clone().recipient(),
            suspect: addr.clone().recipient(),
            breaker: addr.clone().recipient(),
        }
    }
}

/// Owns the suspicion and the breaker of one cluster.
pub struct FailoverActor {
    failover: Failover,
    clock: Clock,
    orders: Orders,
    /// When time alone may close the breaker, and the timer for it.
    wake: Option<(Timestamp, SpawnHandle)>,
    _obituary: Option<Obituary>,
}

impl FailoverActor {
    /// An actor that knows the nodes of `snapshot`; the startup grace begins now.
    pub fn new(
        monitoring: MonitorSettings,
        breaking: BreakerSettings,
        snapshot: &Snapshot,
        clock: Clock,
        orders: Orders,
        obituary: Option<Obituary>,
    ) -> Self {
        let now = clock.now();
        let open = snapshot.stored().breaker_open;
        let mut failover = Failover::new(monitoring, breaking, open, now);
        let told = failover.published(snapshot, now);
        let actor = Self { failover, clock, orders, wake: None, _obituary: obituary };
        // The orders may lead to an actor that is not running yet: its mailbox keeps them.
        told.into_iter().for_each(|input| actor.tell(input));
        actor
    }

    /// Hands what the core decided to the topology, and sets the timer.
    fn carry_out(&mut self, told: impl IntoIterator<Item = Input>, ctx: &mut Context<Self>) {
        told.into_iter().for_each(|input| self.tell(input));
        let due = self.failover.breaker().0.closes_at();
        if self.wake.map(|(at, _)| at) == due {
            return;
        }
        if let Some((_, timer)) = self.wake.take() {
            ctx.cancel_future(timer);
        }
        self.wake = due.map(|at| {
            let pause = Duration::from_millis(at.millis_since(self.clock.now()));
            let timer = ctx.run_later(pause, |failover, ctx| {
                failover.wake = None;
                let told = failover.failover.wake(failover.clock.now());
                failover.carry_out(told, ctx);
            });
            (at, timer)
        });
    }

    fn tell(&self, input: Input) {
        match input {
            Input::MarkDown { node, seen, reason } => {
                let failures = self.failover.suspicion().failures(&node);
                info!(%node, %reason, failures, "held dead");
                self.orders.mark_down.do_send(MarkNodeDown { node, seen, reason });
            }
            Input::Return { node, seen } => {
                info!(%node, "answers again");
                self.orders.give_back.do_send(ReturnNode { node, seen });
            }
            Input::Lapsed { node, seen, silent_millis } => {
                self.orders.lapse.do_send(NoteLapse { node, seen, silent_millis });
            }
            Input::Suspected { node, suspected } => {
                debug!(%node, suspected, "doubted");
                self.orders.suspect.do_send(SuspectNode { node, suspected });
            }
            Input::BreakerChanged { open, assigned, dead } => {
                self.orders.breaker.do_send(ChangeBreaker { open, assigned, dead });
            }
            other => error!(?other, "not an order that failover may give; this is a bug of ours"),
        }
    }
}

impl Actor for FailoverActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        ctx.set_mailbox_capacity(MAILBOX_SIZE);
    }
}

impl Handler<EvidenceSeen> for FailoverActor {
    type Result = ();

    fn handle(&mut self, EvidenceSeen { node, evidence }: EvidenceSeen, ctx: &mut Context<Self>) {
        let told = self.failover.take(&node, evidence, self.clock.now());
        self.carry_out(told, ctx);
    }
}

impl Handler<MapPublished> for FailoverActor {
    type Result = ();

    fn handle(&mut self, MapPublished { snapshot }: MapPublished, ctx: &mut Context<Self>) {
        let told = self.failover.published(&snapshot, self.clock.now());
        self.carry_out(told, ctx);
    }
}

impl Handler<ChangeSettings> for FailoverActor {
    type Result = ();

    fn handle(&mut self, change: ChangeSettings, _: &mut Context<Self>) {
        self.failover.change_monitoring(change.monitoring);
        self.failover.change_breaking(change.breaking);
    }
}

impl Handler<ResetBreaker> for FailoverActor {
    type Result = ();

    fn handle(&mut self, _: ResetBreaker, ctx: &mut Context<Self>) {
        info!("a person closes the circuit breaker");
        let told = self.failover.reset();
        self.carry_out(told, ctx);
    }
}

impl Handler<GetBreaker> for FailoverActor {
    type Result = MessageResult<GetBreaker>;

    fn handle(&mut self, _: GetBreaker, _: &mut Context<Self>) -> Self::Result {
        let (breaker, census) = self.failover.breaker();
        MessageResult(BreakerStatus { breaker, census, settings: *self.failover.breaking() })
    }
}
