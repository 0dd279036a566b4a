//! The actors behind the admin interface, played by a probe; and a client that shows what goes
//! over the wire.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use actix::{Actor, Context, Handler, Message, MessageResult};
use flare_actors::failover::{BreakerStatus, GetBreaker, ResetBreaker};
use flare_actors::overview::{
    EventRecord, EventStream, ForgetNode, GetOverview, GetSessions, Overview, RecoverPartition,
    Sessions, Sources, SubscribeEvents, SwitchMaster,
};
use flare_actors::topology::PrepareToLeave;
use flare_core::model::{HashSettings, Incarnation, NodeEntry, NodeKey, Role, State};
use flare_core::policy::breaker::{Breaker, BreakerSettings, Census};
use flare_core::stored::{StoredNode, StoredTopology};
use flare_core::topology::{Answer, Facts, Mode, Observation, Refusal, Snapshot};
use flare_core::wanted::Wanted;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::broadcast;

/// A map of these lines: name, role, state, partition, items.
pub(crate) fn overview(nodes: &[(&str, Role, State, i32, u64)]) -> Overview {
    let mut stored = StoredTopology::empty(HashSettings::default());
    stored.version = 42;
    let mut facts = BTreeMap::new();
    for (at, (name, role, state, partition, items)) in nodes.iter().enumerate() {
        let key = NodeKey::new(name, 12121);
        let entry = NodeEntry {
            role: *role,
            state: *state,
            partition: *partition,
            balance: 1,
            thread_type: 16 + at as u32,
        };
        stored.nodes.insert(key.clone(), StoredNode::new(entry));
        let observed = Observation {
            incarnation: Incarnation { started: 1_700_000_000, pid: 1 },
            version: 42,
            items: *items,
            copying: *state == State::Prepare,
        };
        facts.insert(
            key,
            Facts { acked: 42, linked: true, observed: Some(observed), ..Facts::default() },
        );
    }
    Overview {
        cluster: "games".into(),
        mode: Mode::Automatic(Wanted {
            partitions: 2,
            replicas: 2,
            paused: false,
            promote_lapsed: true,
        }),
        snapshot: Arc::new(Snapshot::new(Arc::new(stored))),
        facts,
        blocked: BTreeSet::new(),
        troubles: Vec::new(),
        store_waits: std::time::Duration::ZERO,
    }
}

/// Two partitions with a master and a slave each.
pub(crate) fn two_by_two() -> Overview {
    overview(&[
        ("a", Role::Master, State::Active, 0, 10),
        ("b", Role::Slave, State::Active, 0, 10),
        ("c", Role::Master, State::Active, 1, 20),
        ("d", Role::Slave, State::Prepare, 1, 5),
    ])
}

/// Plays topology and listener.
pub(crate) struct Probe {
    pub(crate) overview: Overview,
    pub(crate) sessions: Sessions,
    pub(crate) recent: Vec<EventRecord>,
    pub(crate) events: broadcast::Sender<EventRecord>,
    pub(crate) forgotten: Vec<NodeKey>,
    /// What a person ordered beside that.
    pub(crate) orders: Vec<Ordered>,
}

/// An order of a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ordered {
    Switch(SwitchMaster),
    Recover(RecoverPartition),
    Leave(PrepareToLeave),
    ResetBreaker,
}

impl Probe {
    pub(crate) fn new(overview: Overview) -> Self {
        let (events, _) = broadcast::channel(4);
        let sessions = Sessions::default();
        Self {
            overview,
            sessions,
            recent: Vec::new(),
            events,
            forgotten: Vec::new(),
            orders: Vec::new(),
        }
    }

    /// Starts it, and names it as the source of everything.
    pub(crate) fn start_as_sources(self) -> (actix::Addr<Self>, Sources) {
        let addr = self.start();
        let sources = Sources {
            overview: addr.clone().recipient(),
            sessions: addr.clone().recipient(),
            forget: addr.clone().recipient(),
            switch: addr.clone().recipient(),
            recover: addr.clone().recipient(),
            leave: addr.clone().recipient(),
            breaker: addr.clone().recipient(),
            reset_breaker: addr.clone().recipient(),
            events: addr.clone().recipient(),
        };
        (addr, sources)
    }
}

impl Actor for Probe {
    type Context = Context<Self>;
}

impl Handler<GetOverview> for Probe {
    type Result = MessageResult<GetOverview>;

    fn handle(&mut self, _: GetOverview, _: &mut Context<Self>) -> Self::Result {
        MessageResult(self.overview.clone())
    }
}

impl Handler<SwitchMaster> for Probe {
    type Result = Result<(), Refusal>;

    fn handle(&mut self, order: SwitchMaster, _: &mut Context<Self>) -> Self::Result {
        let known = order.partition == 0;
        self.orders.push(Ordered::Switch(order));
        if known { Ok(()) } else { Err(Refusal::NoSuccessor) }
    }
}

impl Handler<RecoverPartition> for Probe {
    type Result = Result<(), Refusal>;

    fn handle(&mut self, order: RecoverPartition, _: &mut Context<Self>) -> Self::Result {
        let lost = order.partition == 0;
        self.orders.push(Ordered::Recover(order));
        if lost { Ok(()) } else { Err(Refusal::NotLost) }
    }
}

impl Handler<PrepareToLeave> for Probe {
    type Result = MessageResult<PrepareToLeave>;

    fn handle(&mut self, order: PrepareToLeave, _: &mut Context<Self>) -> Self::Result {
        let answer = match self.overview.snapshot.node(&order.node) {
            Some(_) => Answer::Done,
            None => Answer::Refused(Refusal::StillMaster),
        };
        self.orders.push(Ordered::Leave(order));
        MessageResult(answer)
    }
}

impl Handler<GetBreaker> for Probe {
    type Result = MessageResult<GetBreaker>;

    fn handle(&mut self, _: GetBreaker, _: &mut Context<Self>) -> Self::Result {
        MessageResult(BreakerStatus {
            breaker: Breaker::Open,
            census: Census { assigned: 6, dead: 3, unheard: 1 },
            settings: BreakerSettings::default(),
        })
    }
}

impl Handler<ResetBreaker> for Probe {
    type Result = ();

    fn handle(&mut self, _: ResetBreaker, _: &mut Context<Self>) {
        self.orders.push(Ordered::ResetBreaker);
    }
}

impl Handler<GetSessions> for Probe {
    type Result = MessageResult<GetSessions>;

    fn handle(&mut self, asked: GetSessions, _: &mut Context<Self>) -> Self::Result {
        let mut sessions = self.sessions.clone();
        sessions.shown.truncate(asked.most);
        MessageResult(sessions)
    }
}

impl Handler<ForgetNode> for Probe {
    type Result = Result<(), Refusal>;

    fn handle(&mut self, ForgetNode { node }: ForgetNode, _: &mut Context<Self>) -> Self::Result {
        match self.overview.snapshot.node(&node).map(|node| node.entry.state) {
            None => Err(Refusal::UnknownNode),
            Some(State::Down) => {
                self.forgotten.push(node);
                Ok(())
            }
            Some(_) => Err(Refusal::NotDown),
        }
    }
}

impl Handler<SubscribeEvents> for Probe {
    type Result = MessageResult<SubscribeEvents>;

    fn handle(&mut self, _: SubscribeEvents, _: &mut Context<Self>) -> Self::Result {
        let recent = self.recent.clone();
        MessageResult(EventStream { recent, next: self.events.subscribe() })
    }
}

/// Changes the probe from the test, or looks into it.
#[derive(Message)]
#[rtype(result = "R")]
pub(crate) struct Do<R: Send + 'static>(pub(crate) Box<dyn FnOnce(&mut Probe) -> R + Send>);

impl<R: Send + 'static> Handler<Do<R>> for Probe {
    type Result = MessageResult<Do<R>>;

    fn handle(&mut self, order: Do<R>, _: &mut Context<Self>) -> Self::Result {
        MessageResult((order.0)(self))
    }
}

/// What an HTTP server answered.
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Response {
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).expect("the body is JSON")
    }
}

/// One request with these header lines; `Host` is 127.0.0.1 unless they name another.
pub(crate) async fn request(
    server: SocketAddr,
    line: &str,
    headers: &[&str],
    body: &str,
) -> Response {
    let mut stream = open(server, line, headers, body).await;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.expect("the server answers");
    let text = String::from_utf8(bytes).expect("the answer is text");
    let (head, body) = text.split_once("\r\n\r\n").expect("the answer has a head");
    let status = head.split(' ').nth(1).and_then(|word| word.parse().ok());
    Response {
        status: status.expect("the answer has a status"),
        head: head.to_ascii_lowercase(),
        body: body.to_owned(),
    }
}

/// Sends a request and leaves its answer to be read.
pub(crate) async fn open(
    server: SocketAddr,
    line: &str,
    headers: &[&str],
    body: &str,
) -> TcpStream {
    let mut stream = TcpStream::connect(server).await.expect("the server listens");
    let mut text = format!("{line} HTTP/1.1\r\nConnection: close\r\n");
    if !headers.iter().any(|header| header.to_ascii_lowercase().starts_with("host:")) {
        text.push_str(&format!("Host: {server}\r\n"));
    }
    for header in headers {
        text.push_str(header);
        text.push_str("\r\n");
    }
    text.push_str(&format!("Content-Length: {}\r\n\r\n{body}", body.len()));
    stream.write_all(text.as_bytes()).await.expect("the server reads");
    stream
}

pub(crate) async fn get(server: SocketAddr, path: &str) -> Response {
    request(server, &format!("GET {path}"), &[], "").await
}

/// Ends the probe, as an actor that broke.
pub(crate) async fn stop(probe: &actix::Addr<Probe>) {
    probe.do_send(Stop);
    while probe.connected() {
        tokio::task::yield_now().await;
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct Stop;

impl Handler<Stop> for Probe {
    type Result = ();

    fn handle(&mut self, _: Stop, ctx: &mut Context<Self>) {
        actix::ActorContext::stop(ctx);
    }
}
