//! What a session does about each request: an answer at once, or a question to another actor.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::rc::Rc;

use bytes::Bytes;
use flare_core::model::NodeKey;
use flare_core::protocol::Request;
use flare_core::protocol::command::{
    Kill, Meta, NodeAdd, NodeLeave, NodeRemove, NodeRole, NodeState, Ping, Shutdown, Stats,
    StatsThreads, Version,
};
use flare_core::topology::{Answer, Origin};
use tracing::{info, warn};

use super::{GetProcessStats, GetThreads, GetVariables, KillThread, Limits, SessionHome, origin};
use crate::ask::{AskError, ask};
use crate::topology::{
    GetStatsNodes, Killed, PrepareToLeave, RegisterNode, RemoveNode, SetNodeRole, SetNodeState,
    ShutdownNode,
};

/// An answer that somebody else has to give.
pub(super) type Pending = Pin<Box<dyn Future<Output = Bytes>>>;

/// What becomes of a request.
pub(super) enum Outcome {
    /// The answer, which may be empty.
    Answered(Bytes),
    /// The answer will come.
    Asked(Pending),
    /// The connection is closed without an answer.
    Quit,
}

/// Who asks, and by which limits.
#[derive(Clone, Copy)]
pub(super) struct Caller {
    pub(super) peer: IpAddr,
    pub(super) limits: Limits,
}

/// The first word, as `stats threads` shows it.
pub(super) fn op(request: &Request) -> &'static str {
    match request {
        Request::NodeAdd(_)
        | Request::NodeRole(_)
        | Request::NodeState(_)
        | Request::NodeLeave(_)
        | Request::NodeRemove(_) => "node",
        other => other.name(),
    }
}

/// The node that a request speaks for.
pub(super) fn subject(request: &Request) -> Option<&NodeKey> {
    match request {
        Request::NodeAdd(NodeAdd { node })
        | Request::NodeRole(NodeRole { node, .. })
        | Request::NodeState(NodeState { node, .. })
        | Request::NodeRemove(NodeRemove { node })
        | Request::NodeLeave(NodeLeave { node, .. })
        | Request::Shutdown(Shutdown { node }) => Some(node),
        _ => None,
    }
}

/// Answers `request`, or begins to ask for the answer.
pub(super) fn take(request: Request, home: &Rc<SessionHome>, caller: Caller) -> Outcome {
    match request {
        Request::Ping(_) => fixed(Ping::OK),
        Request::Version(_) => fixed(Version::REPLY),
        Request::Quit(_) => Outcome::Quit,
        Request::Meta(_) => {
            let body = Meta::encode(home.published.borrow().snapshot.hash());
            Outcome::Answered(body.into())
        }
        Request::Verbosity(verbosity) => fixed(verbosity.reply()),
        Request::Stats(stats) => take_stats(stats, home, caller),
        Request::ShowVariables(_) => asked(home, async move |home| {
            let variables = ask(&home.listener.variables, GetVariables, caller.limits.answer).await;
            variables.map(|variables| variables.encode().into())
        }),
        Request::Kill(Kill { thread_id }) => asked(home, async move |home| {
            let kill = KillThread { thread: thread_id, caller: caller.peer };
            let killed = ask(&home.listener.kill, kill, caller.limits.answer).await?;
            Ok(Bytes::from_static(match killed {
                Killed::Ended => Kill::OK,
                Killed::Refused => Kill::REFUSED,
                Killed::Unknown => Kill::NOT_FOUND,
            }))
        }),
        change => take_change(change, home, caller),
    }
}

fn take_stats(stats: Stats, home: &Rc<SessionHome>, caller: Caller) -> Outcome {
    let deadline = caller.limits.answer;
    match stats {
        Stats::Nodes => {
            if let Some(body) = home.published.borrow().stats_nodes.clone() {
                return Outcome::Answered(body);
            }
            asked(home, async move |home| {
                ask(&home.topology.stats_nodes, GetStatsNodes, deadline).await
            })
        }
        Stats::Empty | Stats::SlaveThreads => fixed(Stats::EMPTY),
        Stats::Process => asked(home, async move |home| {
            let stats = ask(&home.listener.process, GetProcessStats, deadline).await;
            stats.map(|stats| stats.encode().into())
        }),
        Stats::Threads | Stats::RequestThreads => {
            let question = GetThreads { requests_only: stats == Stats::RequestThreads };
            asked(home, async move |home| {
                let threads = ask(&home.listener.threads, question, deadline).await?;
                Ok(StatsThreads::encode(&threads).into())
            })
        }
        Stats::ThreadQueue => asked(home, async move |home| {
            let question = GetThreads { requests_only: false };
            let threads = ask(&home.listener.threads, question, deadline).await?;
            let total = threads.iter().map(|thread| thread.queue).sum();
            Ok(StatsThreads::encode_queue(total).into())
        }),
    }
}

/// A change: who asks is found out first, then the topology decides.
fn take_change(request: Request, home: &Rc<SessionHome>, caller: Caller) -> Outcome {
    let home = Rc::clone(home);
    Outcome::Asked(Box::pin(async move {
        let origin = origin_of(&request, &home, caller).await;
        let refused = refusal_of(&request);
        match ask_topology(request.clone(), origin, &home, caller).await {
            Ok(Answer::Done) => Bytes::from_static(NodeRole::OK),
            Ok(Answer::Registered(snapshot)) => snapshot.node_lines().clone(),
            Ok(Answer::Refused(refusal)) => {
                info!(%request, ?refusal, ?origin, "refused");
                Bytes::from_static(refused)
            }
            Err(error) => {
                warn!(%request, %error, "a change was not answered by the topology");
                Bytes::from_static(refused)
            }
        }
    }))
}

async fn origin_of(request: &Request, home: &SessionHome, caller: Caller) -> Origin {
    let Some(node) = subject(request).filter(|_| home.checks_origin) else {
        return Origin::Outsider;
    };
    let registers = matches!(request, Request::NodeAdd(_));
    origin::of(home, (node, registers), caller.peer, caller.limits.resolve).await
}

async fn ask_topology(
    request: Request,
    origin: Origin,
    home: &SessionHome,
    caller: Caller,
) -> Result<Answer, AskError> {
    let (topology, deadline) = (&home.topology, caller.limits.answer);
    match request {
        Request::NodeAdd(NodeAdd { node }) => {
            ask(&topology.register, RegisterNode { node, origin }, deadline).await
        }
        Request::NodeRole(NodeRole { node, role, balance, partition }) => {
            let change = SetNodeRole { node, role, balance, partition, origin };
            ask(&topology.set_role, change, deadline).await
        }
        Request::NodeState(NodeState { node, state }) => {
            ask(&topology.set_state, SetNodeState { node, state, origin }, deadline).await
        }
        Request::NodeRemove(NodeRemove { node }) => {
            ask(&topology.remove, RemoveNode { node, origin }, deadline).await
        }
        Request::NodeLeave(NodeLeave { node, cancel }) => {
            let change = PrepareToLeave { node, leaves: !cancel, origin };
            ask(&topology.leave, change, deadline).await
        }
        Request::Shutdown(Shutdown { node }) => {
            ask(&topology.shutdown, ShutdownNode { node, origin }, deadline).await
        }
        other => unreachable!("{} changes nothing and is answered elsewhere", other.name()),
    }
}

/// What upstream answers when a change is refused.
fn refusal_of(request: &Request) -> &'static [u8] {
    match request {
        Request::NodeAdd(_) => NodeAdd::REFUSED,
        Request::NodeRole(_) => NodeRole::REFUSED,
        Request::NodeState(_) => NodeState::REFUSED,
        Request::NodeRemove(_) => NodeRemove::REFUSED,
        Request::NodeLeave(_) => NodeLeave::REFUSED,
        _ => Shutdown::REFUSED,
    }
}

fn fixed(answer: &'static [u8]) -> Outcome {
    Outcome::Answered(Bytes::from_static(answer))
}

/// Asks another actor; when it does not answer, the peer is told that it is our fault.
fn asked<F>(home: &Rc<SessionHome>, question: F) -> Outcome
where
    F: AsyncFnOnce(&SessionHome) -> Result<Bytes, AskError> + 'static,
{
    let home = Rc::clone(home);
    Outcome::Asked(Box::pin(async move {
        question(&home).await.unwrap_or_else(|error| {
            warn!(%error, "a question was not answered");
            Bytes::from_static(BUSY)
        })
    }))
}

/// The index is stuck or about to end.
const BUSY: &[u8] = b"SERVER_ERROR index busy\r\n";
