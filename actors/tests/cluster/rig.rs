//! One cluster's actors with everything around them that a test can take hold of.

use std::cell::RefCell;
use std::future::Future;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use actix::{Actor, Context, Handler, Recipient};
use flare_actors::clock::Clock;
use flare_actors::cluster::{Blueprint, Cluster};
use flare_actors::metrics::ClusterMetrics;
use flare_actors::obituary::Death;
use flare_actors::session::Limits;
use flare_actors::store::{Flush, StoreDoors, Write};
use flare_actors::topology::StoreAnswered;
use flare_core::model::HashSettings;
use flare_core::policy::breaker::BreakerSettings;
use flare_core::policy::suspicion::MonitorSettings;
use flare_core::protocol::command::Variables;
use flare_core::stored::StoredTopology;
use flare_core::topology::{Mode, Settings, StoreFailure};
use flare_core::wanted::Wanted;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, DuplexStream};
use tokio::sync::mpsc;
use tokio::task::LocalSet;
use tokio::time::{Instant, sleep};

use crate::network::{Dialer, Pipes, index_port};
use crate::node::FakeNode;

/// Paused time that a condition may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs a test as the index runs: one thread, no actix `System`; time is paused.
pub(crate) fn simulated(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .expect("a runtime can be built");
    LocalSet::new().block_on(&runtime, test);
}

/// Waits until something holds.
pub(crate) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "waited in vain for {what}");
        sleep(Duration::from_millis(1)).await;
    }
}

/// How the store behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StoreMode {
    Writes,
    Fails,
    /// Answers when told to write again.
    Holds,
}

/// A store in memory.
struct TestStore {
    answers: Recipient<StoreAnswered>,
    mode: Rc<RefCell<StoreMode>>,
    held: Rc<RefCell<Vec<u64>>>,
}

impl Actor for TestStore {
    type Context = Context<Self>;
}

impl Handler<Write> for TestStore {
    type Result = ();

    fn handle(&mut self, Write { stored }: Write, _: &mut Context<Self>) {
        let generation = stored.generation;
        let outcome = match *self.mode.borrow() {
            StoreMode::Writes => Ok(()),
            StoreMode::Fails => Err(StoreFailure::Unwritable("no space left".into())),
            StoreMode::Holds => return self.held.borrow_mut().push(generation),
        };
        self.answers.do_send(StoreAnswered { generation, outcome });
    }
}

impl Handler<Flush> for TestStore {
    type Result = ();

    fn handle(&mut self, _: Flush, _: &mut Context<Self>) {}
}

/// A running cluster.
pub(crate) struct Rig {
    pub(crate) pipes: Rc<Pipes>,
    pub(crate) dialer: Dialer,
    pub(crate) cluster: Cluster,
    pub(crate) deaths: mpsc::Receiver<Death>,
    pub(crate) store: Rc<RefCell<StoreMode>>,
    held: Rc<RefCell<Vec<u64>>>,
    zero: Instant,
}

/// How nodes are watched in tests: flarei's way, with the index's own interval.
pub(crate) const MONITORING: MonitorSettings = MonitorSettings {
    interval_millis: 1_000,
    read_timeout_millis: 1_000,
    threshold: 3,
    startup_grace_millis: 0,
    restart_is_death: false,
    silence_of_all_is_death: true,
    lapse_millis: 0,
};

impl Rig {
    pub(crate) fn start() -> Self {
        Self::with_limits(Limits::default())
    }

    pub(crate) fn with_limits(limits: Limits) -> Self {
        Self::build(limits, Mode::Manual)
    }

    /// One that gives roles by itself: one partition, a master and a slave.
    pub(crate) fn automatic() -> Self {
        let wanted = Wanted { partitions: 1, replicas: 2, paused: false, promote_lapsed: true };
        Self::build(Limits::default(), Mode::Automatic(wanted))
    }

    fn build(limits: Limits, mode: Mode) -> Self {
        let pipes = Rc::new(Pipes::default());
        let (listener, dialer) = index_port();
        let (obituaries, deaths) = mpsc::channel(16);
        let store = Rc::new(RefCell::new(StoreMode::Writes));
        let held: Rc<RefCell<Vec<u64>>> = Rc::default();
        let (writes, holds) = (Rc::clone(&store), Rc::clone(&held));
        let start_store = move |answers| {
            let addr = TestStore { answers, mode: writes, held: holds }.start();
            Ok(StoreDoors { write: addr.clone().recipient(), flush: addr.recipient() })
        };
        let cluster = Cluster::start(Blueprint {
            name: "test".into(),
            stored: StoredTopology::empty(HashSettings::default()),
            settings: Settings { mode, nodes_max: 100, zero_unix_millis: 1_000_000_000_000 },
            monitoring: MONITORING,
            breaking: BreakerSettings { enabled: false, ..BreakerSettings::default() },
            limits,
            variables: variables(),
            clock: Clock::simulated(1_000_000_000_000),
            network: Rc::clone(&pipes) as Rc<_>,
            socket: Box::new(listener),
            relay_port: 0,
            store: Box::new(start_store),
            metrics: ClusterMetrics::new("test".into()),
            deaths: obituaries,
        })
        .expect("nothing in it needs the system");
        Self { pipes, dialer, cluster, deaths, store, held, zero: Instant::now() }
    }

    /// Milliseconds since the start.
    pub(crate) fn now(&self) -> u64 {
        u64::try_from(self.zero.elapsed().as_millis()).expect("a short test")
    }

    /// A node that listens and is not registered.
    pub(crate) fn node(&self, port: u16) -> FakeNode {
        FakeNode::start(&self.pipes, port, self.zero)
    }

    /// A node that is registered and has taken the map.
    pub(crate) async fn joined(&self, port: u16) -> FakeNode {
        let node = self.node(port);
        let answer = self.client().block(&format!("node add 127.0.0.1 {port}")).await;
        assert!(answer.ends_with("END\r\n"), "{answer}");
        eventually("the first map", || !node.maps().is_empty()).await;
        node
    }

    /// A connection from this host.
    pub(crate) fn client(&self) -> Client {
        self.client_from("127.0.0.1:40000")
    }

    pub(crate) fn client_from(&self, peer: &str) -> Client {
        Client { stream: BufReader::new(self.dialer.dial(peer)) }
    }

    /// Sends one command on a connection of its own.
    pub(crate) async fn order(&self, command: &str) -> String {
        self.client().line(command).await
    }

    /// The store writes again, what it held first.
    pub(crate) fn release_store(&self) {
        *self.store.borrow_mut() = StoreMode::Writes;
        for generation in self.held.borrow_mut().drain(..) {
            self.cluster.topology.do_send(StoreAnswered { generation, outcome: Ok(()) });
        }
    }

    /// The version of the committed map.
    pub(crate) fn version(&self) -> u64 {
        self.cluster.published.borrow().snapshot.version()
    }

    /// A node's role and state in the committed map, as in `master active`.
    pub(crate) fn entry(&self, port: u16) -> String {
        self.entry_of("127.0.0.1", port)
    }

    /// That of a node with a name.
    pub(crate) fn entry_of(&self, name: &str, port: u16) -> String {
        let published = self.cluster.published.borrow();
        let key = flare_core::model::NodeKey::new(name, port.into());
        published
            .snapshot
            .node(&key)
            .map_or_else(String::new, |node| format!("{} {}", node.entry.role, node.entry.state))
    }
}

fn variables() -> Variables {
    Variables {
        config_path: String::new(),
        pid_path: String::new(),
        daemonize: false,
        data_dir: "/var/lib/flare".into(),
        max_connection: 128,
        monitor_threshold: 3,
        monitor_interval: 1,
        monitor_read_timeout: 1000,
        net_read_timeout: 600_000,
        hash: HashSettings::default(),
        server_name: "127.0.0.1".into(),
        server_port: SocketAddr::from(([127, 0, 0, 1], 12120)).port(),
        server_socket: String::new(),
        stack_size: 128,
        thread_pool_size: 5,
    }
}

/// A connection to the index.
pub(crate) struct Client {
    pub(crate) stream: BufReader<DuplexStream>,
}

impl Client {
    pub(crate) async fn send(&mut self, text: &str) {
        self.stream.get_mut().write_all(text.as_bytes()).await.expect("the index reads");
    }

    /// The next line; empty at the end of the connection.
    pub(crate) async fn read_line(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).await.expect("text");
        line
    }

    /// Sends a command and reads one line.
    pub(crate) async fn line(&mut self, command: &str) -> String {
        self.send(&format!("{command}\r\n")).await;
        self.read_line().await
    }

    /// Sends a command and reads up to `END` or an error.
    pub(crate) async fn block(&mut self, command: &str) -> String {
        self.send(&format!("{command}\r\n")).await;
        let mut block = String::new();
        loop {
            let line = self.read_line().await;
            block += &line;
            if line.is_empty() || line == "END\r\n" || line.contains("ERROR") {
                return block;
            }
        }
    }

    /// Reads until the index closes the connection; what came before that.
    pub(crate) async fn rest(&mut self) -> String {
        let mut rest = String::new();
        self.stream.read_to_string(&mut rest).await.expect("text");
        rest
    }
}
