//! Messages that become inputs of the core, one for one.

use actix::{Context, Handler, ResponseFuture};
use flare_core::topology::{Answer, Input, Mode, Origin, Refusal, RequestId};
use tokio::sync::oneshot;

use super::{
    ChangeBreaker, ChangeMonitoring, ChangeWanted, ClientsEnded, ConnectionsSeen, FinishSteps,
    LinkEnded, LinkOpened, ListLeaving, MapAcknowledged, MarkNodeDown, NodeConnected, NodeEmptied,
    NodeIntroduced, NodeObserved, NoteLapse, PrepareToLeave, QueueDrained, RegisterNode,
    RelayEnded, RelayOpened, RelayReached, RemoveNode, ReturnNode, SetNodeRole, SetNodeState,
    ShutdownNode, StoreAnswered, SuspectNode, TellZones, TopologyActor,
};
use crate::link::{ChangeSettings, NodeCalled};
use crate::overview::{ForgetNode, RecoverPartition, SwitchMaster};

impl TopologyActor {
    /// Submits a change that somebody waits for.
    fn change(
        &mut self,
        input: impl FnOnce(RequestId) -> Input,
        ctx: &mut Context<Self>,
    ) -> ResponseFuture<Answer> {
        if !self.finishing.is_empty() {
            return Box::pin(std::future::ready(Answer::Refused(Refusal::StoodDown)));
        }
        let request = RequestId(self.next_request);
        self.next_request += 1;
        let (asker, answer) = oneshot::channel();
        self.askers.insert(request, asker);
        self.submit(input(request), Some(request), ctx);
        // The sender is dropped unanswered only when this actor ends.
        Box::pin(async { answer.await.unwrap_or(Answer::Refused(Refusal::StoodDown)) })
    }
}

impl Handler<RegisterNode> for TopologyActor {
    type Result = ResponseFuture<Answer>;

    fn handle(&mut self, message: RegisterNode, ctx: &mut Context<Self>) -> Self::Result {
        let RegisterNode { node, origin } = message;
        if let Some(link) = self.links.get(&node) {
            // It listens, or it would not call: no need to sit out a pause.
            link.addr.do_send(NodeCalled);
        }
        self.change(|request| Input::Register { request, node, origin }, ctx)
    }
}

impl Handler<SetNodeRole> for TopologyActor {
    type Result = ResponseFuture<Answer>;

    fn handle(&mut self, message: SetNodeRole, ctx: &mut Context<Self>) -> Self::Result {
        let SetNodeRole { node, role, balance, partition, origin } = message;
        self.change(
            |request| Input::SetRole { request, node, role, balance, partition, origin },
            ctx,
        )
    }
}

impl Handler<SetNodeState> for TopologyActor {
    type Result = ResponseFuture<Answer>;

    fn handle(&mut self, message: SetNodeState, ctx: &mut Context<Self>) -> Self::Result {
        let SetNodeState { node, state, origin } = message;
        self.change(|request| Input::SetState { request, node, state, origin }, ctx)
    }
}

impl Handler<RemoveNode> for TopologyActor {
    type Result = ResponseFuture<Answer>;

    fn handle(&mut self, message: RemoveNode, ctx: &mut Context<Self>) -> Self::Result {
        let RemoveNode { node, origin } = message;
        self.change(|request| Input::Remove { request, node, origin }, ctx)
    }
}

impl Handler<ShutdownNode> for TopologyActor {
    type Result = ResponseFuture<Answer>;

    fn handle(&mut self, message: ShutdownNode, ctx: &mut Context<Self>) -> Self::Result {
        let ShutdownNode { node, origin } = message;
        self.change(|request| Input::Shutdown { request, node, origin }, ctx)
    }
}

impl Handler<PrepareToLeave> for TopologyActor {
    type Result = ResponseFuture<Answer>;

    fn handle(&mut self, message: PrepareToLeave, ctx: &mut Context<Self>) -> Self::Result {
        let PrepareToLeave { node, leaves, origin } = message;
        self.change(|request| Input::PrepareToLeave { request, node, leaves, origin }, ctx)
    }
}

impl Handler<ForgetNode> for TopologyActor {
    type Result = ResponseFuture<Result<(), Refusal>>;

    fn handle(&mut self, ForgetNode { node }: ForgetNode, ctx: &mut Context<Self>) -> Self::Result {
        let origin = Origin::Admin;
        done(self.change(|request| Input::Remove { request, node, origin }, ctx))
    }
}

impl Handler<SwitchMaster> for TopologyActor {
    type Result = ResponseFuture<Result<(), Refusal>>;

    fn handle(&mut self, message: SwitchMaster, ctx: &mut Context<Self>) -> Self::Result {
        let SwitchMaster { partition, to, how } = message;
        let origin = Origin::Admin;
        let switch = |request| Input::Switchover { request, partition, to, how, origin };
        done(self.change(switch, ctx))
    }
}

impl Handler<RecoverPartition> for TopologyActor {
    type Result = ResponseFuture<Result<(), Refusal>>;

    fn handle(&mut self, message: RecoverPartition, ctx: &mut Context<Self>) -> Self::Result {
        let RecoverPartition { partition, from } = message;
        let origin = Origin::Admin;
        done(self.change(|request| Input::Recover { request, partition, from, origin }, ctx))
    }
}

/// Only whether it was done.
fn done(answer: ResponseFuture<Answer>) -> ResponseFuture<Result<(), Refusal>> {
    Box::pin(async move {
        match answer.await {
            Answer::Refused(refusal) => Err(refusal),
            Answer::Done | Answer::Registered(_) => Ok(()),
        }
    })
}

impl Handler<ChangeWanted> for TopologyActor {
    type Result = Result<(), Refusal>;

    fn handle(&mut self, message: ChangeWanted, ctx: &mut Context<Self>) -> Self::Result {
        let ChangeWanted { wanted } = message;
        let step = self.topology.handle(Input::WantedChanged { wanted }, self.clock.now())?;
        if matches!(self.mode, Mode::Automatic(_)) {
            self.mode = Mode::Automatic(wanted);
        }
        self.carry_out(step, ctx);
        Ok(())
    }
}

impl Handler<ChangeMonitoring> for TopologyActor {
    type Result = ();

    fn handle(&mut self, ChangeMonitoring { settings }: ChangeMonitoring, _: &mut Context<Self>) {
        self.monitoring = settings;
        for link in self.links.values() {
            link.addr.do_send(ChangeSettings { settings });
        }
    }
}

impl Handler<FinishSteps> for TopologyActor {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: FinishSteps, _: &mut Context<Self>) -> Self::Result {
        let (waiting, finished) = oneshot::channel();
        self.finishing.push(waiting);
        let idle = self.is_idle();
        Box::pin(async move {
            if !idle {
                let _ = finished.await;
            }
        })
    }
}

/// Messages that nobody waits for.
macro_rules! becomes_input {
    ($message:ident { $($field:ident),* } => $input:ident) => {
        impl Handler<$message> for TopologyActor {
            type Result = ();

            fn handle(&mut self, message: $message, ctx: &mut Context<Self>) {
                let $message { $($field),* } = message;
                self.submit(Input::$input { $($field),* }, None, ctx);
            }
        }
    };
}

becomes_input!(MarkNodeDown { node, seen, reason } => MarkDown);
becomes_input!(ReturnNode { node, seen } => Return);
becomes_input!(NoteLapse { node, seen, silent_millis } => Lapsed);
becomes_input!(SuspectNode { node, suspected } => Suspected);
becomes_input!(ChangeBreaker { open, assigned, dead } => BreakerChanged);
becomes_input!(ClientsEnded { node } => ClientsEnded);
becomes_input!(ListLeaving { nodes } => LeavingListed);
becomes_input!(TellZones { zones } => ZonesTold);
becomes_input!(LinkOpened { node } => LinkOpened);
becomes_input!(LinkEnded { node } => LinkEnded);
becomes_input!(MapAcknowledged { node, version } => Acknowledged);
becomes_input!(NodeObserved { node, observation } => Observed);
becomes_input!(ConnectionsSeen { node, towards } => ConnectionsShown);
becomes_input!(NodeConnected { node, towards, missing } => Connected);
becomes_input!(NodeIntroduced { node } => Introduced);
becomes_input!(QueueDrained { node, towards } => QueueDrained);
becomes_input!(NodeEmptied { node, intent, ok } => Emptied);

impl Handler<RelayOpened> for TopologyActor {
    type Result = ();

    fn handle(&mut self, message: RelayOpened, ctx: &mut Context<Self>) {
        let RelayOpened { number, relay } = message;
        // An earlier one was given up, and ended with the order for this one.
        if number == self.relay_number {
            self.submit(Input::RelayOpened { relay }, None, ctx);
        }
    }
}

impl Handler<RelayReached> for TopologyActor {
    type Result = ();

    fn handle(&mut self, RelayReached { number }: RelayReached, ctx: &mut Context<Self>) {
        if number == self.relay_number {
            self.submit(Input::RelayReached, None, ctx);
        }
    }
}

impl Handler<RelayEnded> for TopologyActor {
    type Result = ();

    fn handle(&mut self, RelayEnded { number }: RelayEnded, ctx: &mut Context<Self>) {
        if number == self.relay_number {
            self.submit(Input::RelayEnded, None, ctx);
        }
    }
}

impl Handler<StoreAnswered> for TopologyActor {
    type Result = ();

    fn handle(&mut self, message: StoreAnswered, ctx: &mut Context<Self>) {
        let StoreAnswered { generation, outcome } = message;
        self.write_ended(generation, ctx);
        let input = match outcome {
            Ok(()) => Input::Stored { generation },
            Err(failure) => Input::StoreFailed { generation, failure },
        };
        self.submit(input, None, ctx);
    }
}
