//! The index port: accepts connections, holds the limits, knows every session.

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context as TaskContext, Poll, ready};

use actix::{
    Actor, ActorFuture, Addr, AsyncContext, Context, Handler, MessageResult, ResponseFuture,
};
use flare_core::protocol::command::{StatsProcess, Thread, ThreadKind, ThreadState, Variables};
use futures_util::future::join_all;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tracing::{debug, error, info, warn};

use super::{
    ChangeLimits, EndSession, GetProcessStats, GetStatus, GetThreads, GetVariables, InboundSession,
    KillThread, Limits, SessionEnded, SessionHome, SessionStatus, StopAccepting, Traffic,
};
use crate::accepting::{AcceptFailed, Acceptor};
use crate::net::{Listener, Stream};
use crate::obituary::{End, Obituary};
use crate::overview::{GetSessions, Sessions};
use crate::process;
use crate::topology::{GetLinks, KillLink, Killed};

/// Sessions have odd thread ids from here, links even ones.
const FIRST_THREAD: u32 = 3;
const THREAD_STEP: u32 = 2;

/// The threads that upstream has beside connections (flare-protocol.md 3.8). Ours has neither;
/// they are shown because tools expect them, and cannot be killed.
const CONTROLLER_THREAD: u32 = 1;
const ALARM_THREAD: u32 = 2;

/// What a listener is made of.
pub struct Parts {
    /// The listening socket.
    pub socket: Box<dyn Listener>,
    /// What peers may use up.
    pub limits: Limits,
    /// What `show variables` tells.
    pub variables: Variables,
    /// What all sessions share.
    pub home: Rc<SessionHome>,
    /// Tells the parent of this actor's end.
    pub obituary: Option<Obituary>,
}

/// Owns the index port.
pub struct ListenerActor {
    /// Gone once the index stops.
    socket: Option<Acceptor>,
    limits: Limits,
    variables: Variables,
    home: Rc<SessionHome>,
    sessions: BTreeMap<u32, Open>,
    /// Connections that are open, by peer.
    peers: HashMap<IpAddr, usize>,
    next_thread: u32,
    accepted: u64,
    /// Bytes of the sessions that have ended.
    past_traffic: Traffic,
    started: Instant,
    /// Who waits until the last session is gone.
    stopping: Vec<oneshot::Sender<()>>,
    _obituary: Option<Obituary>,
}

/// A connection that is open.
struct Open {
    session: Addr<InboundSession>,
    peer: IpAddr,
}

impl ListenerActor {
    /// A listener that begins to accept when it is started.
    pub fn new(parts: Parts) -> Self {
        Self {
            socket: Some(Acceptor::new(parts.socket)),
            limits: parts.limits,
            variables: parts.variables,
            home: parts.home,
            sessions: BTreeMap::new(),
            peers: HashMap::new(),
            next_thread: FIRST_THREAD,
            accepted: 0,
            past_traffic: Traffic::default(),
            started: Instant::now(),
            stopping: Vec::new(),
            _obituary: parts.obituary,
        }
    }

    /// Accepts until nobody waits; ready when the socket is gone.
    fn accept(&mut self, cx: &mut TaskContext<'_>) -> Poll<()> {
        loop {
            let Some(socket) = &mut self.socket else { return Poll::Ready(()) };
            match ready!(socket.poll_accept(cx)) {
                Ok((stream, peer)) => self.admit(stream, peer),
                Err(AcceptFailed { error, pause }) => {
                    error!(%error, ?pause, "cannot accept connections; trying again");
                    self.home.metrics.connection_refused("accept");
                }
            }
        }
    }

    /// Starts a session, or closes the connection at once, as upstream does.
    fn admit(&mut self, stream: Box<dyn Stream>, peer: SocketAddr) {
        self.accepted += 1;
        self.home.metrics.connection_accepted();
        let of_peer = self.peers.get(&peer.ip()).copied().unwrap_or(0);
        // Whoever is on this host shares its fate anyway, and nodes and tools may all be there.
        let over = if self.sessions.len() >= self.limits.connections {
            Some("max_connection")
        } else if of_peer >= self.limits.connections_per_peer
            && !self.home.network.is_local(peer.ip())
        {
            Some("max_connection_per_peer")
        } else {
            None
        };
        if let Some(limit) = over {
            warn!(%peer, limit, open = self.sessions.len(), of_peer, "over a limit: closed");
            self.home.metrics.connection_refused(limit);
            return;
        }
        let id = self.free_thread();
        let home = Rc::clone(&self.home);
        let session = InboundSession::new(id, peer, stream, self.limits, home).start();
        self.sessions.insert(id, Open { session, peer: peer.ip() });
        *self.peers.entry(peer.ip()).or_default() += 1;
        debug!(conn = id, %peer, "accepted");
    }

    /// The next thread id. They start over after two billion connections; one that is still in
    /// use is passed over.
    fn free_thread(&mut self) -> u32 {
        loop {
            let id = self.next_thread;
            self.next_thread = id.checked_add(THREAD_STEP).unwrap_or(FIRST_THREAD);
            if !self.sessions.contains_key(&id) {
                return id;
            }
        }
    }

    /// Asks the oldest sessions, up to `most`, what they are doing.
    fn ask_sessions(&self, most: usize) -> impl Future<Output = Vec<SessionStatus>> + use<> {
        let asked: Vec<_> =
            self.sessions.values().take(most).map(|open| open.session.send(GetStatus)).collect();
        // A session answers at once or is gone.
        async { join_all(asked).await.into_iter().flatten().collect() }
    }
}

impl ListenerActor {
    /// Ends a session. Where it matters who asks (R15), everybody ends their own, and whoever is on
    /// this host, and shares its fate anyway, all of them.
    fn kill(&self, conn: u32, open: &Open, caller: IpAddr) -> Killed {
        let network = &*self.home.network;
        let may = !self.home.checks_origin || open.peer == caller || network.is_local(caller);
        if !may {
            info!(conn, %caller, "not killed: it is another's connection");
            return Killed::Refused;
        }
        info!(conn, %caller, "killed by request");
        open.session.do_send(EndSession::Killed);
        Killed::Ended
    }
}

/// The future of the listener's actor that accepts.
struct Accept;

impl ActorFuture<ListenerActor> for Accept {
    type Output = ();

    fn poll(
        self: Pin<&mut Self>,
        listener: &mut ListenerActor,
        _: &mut Context<ListenerActor>,
        task: &mut TaskContext<'_>,
    ) -> Poll<()> {
        listener.accept(task)
    }
}

impl Actor for ListenerActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        ctx.spawn(Accept);
    }
}

impl Handler<SessionEnded> for ListenerActor {
    type Result = ();

    fn handle(&mut self, ended: SessionEnded, _: &mut Context<Self>) {
        let SessionEnded { id, peer, end, traffic } = ended;
        if end == End::Panicked {
            error!(conn = id, %peer, "a session ended by a bug of ours; its connection is closed");
        }
        self.past_traffic.add(traffic);
        if self.sessions.remove(&id).is_some()
            && let Some(open) = self.peers.get_mut(&peer.ip())
        {
            *open -= 1;
            if *open == 0 {
                self.peers.remove(&peer.ip());
            }
        }
        if self.sessions.is_empty() {
            for waiting in self.stopping.drain(..) {
                let _ = waiting.send(());
            }
        }
    }
}

impl Handler<GetSessions> for ListenerActor {
    type Result = ResponseFuture<Sessions>;

    fn handle(&mut self, GetSessions { most }: GetSessions, _: &mut Context<Self>) -> Self::Result {
        let (open, limit) = (self.sessions.len(), self.limits.connections);
        let asked = self.ask_sessions(most);
        Box::pin(async move {
            let shown = asked.await.into_iter().map(|status| status.facts).collect();
            Sessions { open, limit, shown }
        })
    }
}

impl Handler<GetThreads> for ListenerActor {
    type Result = ResponseFuture<Vec<Thread>>;

    fn handle(&mut self, question: GetThreads, _: &mut Context<Self>) -> Self::Result {
        let asked = self.ask_sessions(usize::MAX);
        let links = (!question.requests_only).then(|| self.home.topology.links.send(GetLinks));
        let unix_now = self.home.clock.unix_seconds();
        Box::pin(async move {
            let mut threads: Vec<Thread> = asked.await.iter().map(session_thread).collect();
            let Some(links) = links else { return threads };
            threads.push(other_thread(ALARM_THREAD, ThreadKind::Alarm, unix_now));
            threads.push(other_thread(CONTROLLER_THREAD, ThreadKind::Controller, unix_now));
            let mut links = links.await.unwrap_or_default();
            links.sort_by_key(|link| link.thread_type);
            threads.extend(links.into_iter().map(|link| Thread {
                id: link.thread,
                kind: ThreadKind::Monitor(link.thread_type),
                peer: Some(link.node.to_string()),
                op: link.op,
                uptime: link.uptime,
                state: link.state,
                queue: link.queue,
                behind: link.behind,
            }));
            threads
        })
    }
}

fn session_thread(status: &SessionStatus) -> Thread {
    Thread {
        // The facts carry the thread id, which has 32 bits.
        id: u32::try_from(status.facts.id).unwrap_or_default(),
        kind: ThreadKind::Request,
        peer: Some(status.facts.peer.to_string()),
        op: status.op.unwrap_or_default(),
        uptime: status.facts.open_for.as_secs(),
        state: if status.op.is_some() { ThreadState::Execute } else { ThreadState::Wait },
        queue: 0,
        behind: 0,
    }
}

/// Upstream shows the Unix time as the uptime of threads that serve no connection.
fn other_thread(id: u32, kind: ThreadKind, unix_now: u64) -> Thread {
    Thread {
        id,
        kind,
        peer: None,
        op: "",
        uptime: unix_now,
        state: ThreadState::Wait,
        queue: 0,
        behind: 0,
    }
}

impl Handler<GetProcessStats> for ListenerActor {
    type Result = ResponseFuture<StatsProcess>;

    fn handle(&mut self, _: GetProcessStats, _: &mut Context<Self>) -> Self::Result {
        let open = self.sessions.len() as u64;
        let map = std::sync::Arc::clone(&self.home.published.borrow().snapshot);
        let links = map.entries().count() as u64;
        let times = process::cpu_times();
        let mut stats = StatsProcess {
            pid: std::process::id(),
            uptime: self.started.elapsed().as_secs(),
            time: self.home.clock.unix_seconds(),
            user_micros: times.user_micros,
            system_micros: times.system_micros,
            curr_connections: open,
            total_connections: self.accepted,
            // As upstream counts: one per connection, the alarm and the controller.
            threads: open + links + 2,
            node_map_version: map.version(),
            ..StatsProcess::default()
        };
        let mut traffic = self.past_traffic;
        let asked = self.ask_sessions(usize::MAX);
        Box::pin(async move {
            for status in asked.await {
                traffic.add(status.traffic);
            }
            stats.bytes_read = traffic.read;
            stats.bytes_written = traffic.written;
            stats
        })
    }
}

impl Handler<GetVariables> for ListenerActor {
    type Result = MessageResult<GetVariables>;

    fn handle(&mut self, _: GetVariables, _: &mut Context<Self>) -> Self::Result {
        MessageResult(self.variables.clone())
    }
}

impl Handler<KillThread> for ListenerActor {
    type Result = ResponseFuture<Killed>;

    fn handle(&mut self, order: KillThread, _: &mut Context<Self>) -> Self::Result {
        let KillThread { thread, caller } = order;
        if let Some(open) = self.sessions.get(&thread) {
            return Box::pin(std::future::ready(self.kill(thread, open, caller)));
        }
        let killed = self.home.topology.kill_link.send(KillLink { thread });
        Box::pin(async move { killed.await.unwrap_or(Killed::Unknown) })
    }
}

impl Handler<ChangeLimits> for ListenerActor {
    type Result = ();

    fn handle(&mut self, change: ChangeLimits, _: &mut Context<Self>) {
        let ChangeLimits { limits, variables } = change;
        self.limits = limits;
        self.variables = variables;
    }
}

impl Handler<StopAccepting> for ListenerActor {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: StopAccepting, _: &mut Context<Self>) -> Self::Result {
        self.socket = None;
        for open in self.sessions.values() {
            open.session.do_send(EndSession::Stopping);
        }
        let (waiting, stopped) = oneshot::channel();
        if self.sessions.is_empty() {
            return Box::pin(std::future::ready(()));
        }
        self.stopping.push(waiting);
        Box::pin(async move {
            let _ = stopped.await;
        })
    }
}
