//! The stand-in as a suite uses it: started through its handle among others on loopback, killed,
//! restarted, made to fail. The index here is a few lines that answer and take notes.

mod cold;
mod storage;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::LazyLock;
use std::time::Duration;

use flare_e2e::node::{AnswerFault, Exit, Fault, NodeConfig, NodeHandle, Report, StandInNode};
use flare_e2e::node::{RegistrationError, StartError};
use flare_e2e::suite::ports::Ports;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};

/// Longest wait for anything: far above what an idle or a loaded machine needs.
const PATIENCE: Duration = Duration::from_secs(30);

const META: &str = "META partition-type modular\r\nMETA partition-modular-hint 1\r\nEND\r\n";

/// An index that lets every node in, with an empty map, and hands on every other command.
struct Index {
    address: SocketAddr,
    reports: mpsc::UnboundedReceiver<String>,
    /// Is a `shutdown` left without an answer?
    withholds: watch::Sender<bool>,
}

impl Index {
    async fn start(answer_add: &'static str) -> Self {
        let withholds = watch::Sender::new(false);
        let withheld = withholds.clone();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("its address");
        let (sender, reports) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, answer_add, sender.clone(), withheld.subscribe()));
            }
        });
        Self { address, reports, withholds }
    }

    async fn report(&mut self) -> String {
        timeout(PATIENCE, self.reports.recv())
            .await
            .expect("a report")
            .expect("the index serves on")
    }

    /// A node on a port below those that the kernel gives out: one that is down keeps its port.
    fn config(&self) -> NodeConfig {
        static PORTS: LazyLock<Ports> = LazyLock::new(Ports::new);
        let port = PORTS.take().expect("a free port");
        NodeConfig::new("127.0.0.1", port, &self.address.to_string())
    }

    async fn node(&self) -> NodeHandle {
        StandInNode::start(self.config()).await.expect("a node")
    }
}

async fn serve(
    mut stream: TcpStream,
    add: &str,
    reports: mpsc::UnboundedSender<String>,
    mut withheld: watch::Receiver<bool>,
) {
    let (reader, mut writer) = stream.split();
    let mut lines = BufReader::new(reader).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let answer = match line.as_str() {
            "meta" => META,
            _ if line.starts_with("node add") => add,
            _ => {
                let ends = line.starts_with("shutdown");
                let _ = reports.send(line);
                if ends {
                    let _ = withheld.wait_for(|withheld| !withheld).await;
                }
                "OK\r\n"
            }
        };
        if writer.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// A client's connection.
struct Client(BufReader<TcpStream>);

impl Client {
    async fn to(node: &NodeHandle) -> Self {
        let address = node.address().expect("a node that is up");
        Self(BufReader::new(TcpStream::connect(address).await.expect("a connection")))
    }

    async fn send(&mut self, text: &str) {
        self.0.get_mut().write_all(text.as_bytes()).await.expect("a request taken");
    }

    /// The next line; empty if the node has closed.
    async fn line(&mut self) -> String {
        let mut line = String::new();
        timeout(PATIENCE, self.0.read_line(&mut line)).await.expect("an answer").expect("text");
        line
    }

    async fn ask(&mut self, text: &str) -> String {
        self.send(text).await;
        self.line().await
    }

    /// All lines before `END`.
    async fn list(&mut self, text: &str) -> Vec<String> {
        self.send(text).await;
        let mut lines = Vec::new();
        loop {
            match self.line().await.trim_end() {
                "END" | "" => return lines,
                line => lines.push(line.to_owned()),
            }
        }
    }
}

/// A map as `node sync` says it; each node as `role state partition balance`.
fn sync(version: u64, nodes: &[(&NodeHandle, &str)]) -> String {
    let mut text = format!("node sync {version}\r\n");
    for (number, (node, rest)) in nodes.iter().enumerate() {
        let address = node.address().expect("a node that is up");
        let thread_type = 16 + number;
        let (ip, port) = (address.ip(), address.port());
        text.push_str(&format!("NODE {ip} {port} {rest} {thread_type}\r\n"));
    }
    text + "END\r\n"
}

async fn install(version: u64, map: &[(&NodeHandle, &str)]) {
    for (node, _) in map {
        assert_eq!(Client::to(node).await.ask(&sync(version, map)).await, "OK\r\n");
    }
}

async fn items(node: &NodeHandle) -> String {
    let stats = Client::to(node).await.list("stats\r\n").await;
    stats.into_iter().find(|line| line.starts_with("STAT curr_items")).expect("curr_items")
}

/// A master with three keys, and a node that is still a proxy.
async fn master_and_proxy(index: &Index) -> (NodeHandle, NodeHandle) {
    let (master, other) = (index.node().await, index.node().await);
    install(1, &[(&master, "0 0 0 1"), (&other, "2 0 -1 0")]).await;
    let mut client = Client::to(&master).await;
    for key in ["a", "b", "c"] {
        assert_eq!(client.ask(&format!("set {key} 0 0 1\r\nx\r\n")).await, "STORED\r\n");
    }
    (master, other)
}

#[tokio::test]
async fn a_copy_that_is_held_reports_when_it_is_let_go() {
    let mut index = Index::start("END\r\n").await;
    let (master, slave) = master_and_proxy(&index).await;
    slave.fault(Fault::HoldCopy(true));
    install(2, &[(&master, "0 0 0 1"), (&slave, "1 1 0 0")]).await;
    let copying = async {
        loop {
            let threads = Client::to(&slave).await.list("stats threads\r\n").await;
            if threads.iter().any(|line| line.ends_with(":op dump")) {
                return threads;
            }
            sleep(Duration::from_millis(5)).await;
        }
    };
    let threads = timeout(PATIENCE, copying).await.unwrap();
    assert!(threads.iter().any(|line| line.ends_with(":type 3")), "{threads:?}");
    assert!(index.reports.try_recv().is_err(), "no report while it is held");
    slave.fault(Fault::HoldCopy(false));
    assert_eq!(index.report().await, format!("node state {} active", spaced(&slave)));
    assert_eq!(items(&slave).await, "STAT curr_items 3");
}

fn spaced(node: &NodeHandle) -> String {
    node.key().replace(':', " ")
}

#[tokio::test]
async fn a_copy_that_fails_asks_for_the_role_of_a_proxy() {
    let mut index = Index::start("END\r\n").await;
    let (master, slave) = master_and_proxy(&index).await;
    slave.fault(Fault::FailCopy(1));
    install(2, &[(&master, "0 0 0 1"), (&slave, "1 1 0 0")]).await;
    assert_eq!(index.report().await, format!("node role {} proxy 0 -1", spaced(&slave)));
    install(3, &[(&master, "0 0 0 1"), (&slave, "2 0 -1 0")]).await;
    install(4, &[(&master, "0 0 0 1"), (&slave, "1 1 0 0")]).await;
    assert_eq!(index.report().await, format!("node state {} active", spaced(&slave)));
}

#[tokio::test]
async fn a_lost_report_is_not_sent_and_the_next_one_is() {
    let mut index = Index::start("END\r\n").await;
    let (master, slave) = master_and_proxy(&index).await;
    slave.fault(Fault::LoseReport { report: Report::Active, times: 1 });
    install(2, &[(&master, "0 0 0 1"), (&slave, "1 1 0 0")]).await;
    let complete = async {
        while items(&slave).await != "STAT curr_items 3" {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, complete).await.unwrap();
    assert_eq!(slave.stop().await, Exit::Status(0));
    assert_eq!(index.report().await, format!("shutdown {}", spaced(&slave)), "the only report");
}

#[tokio::test]
async fn a_silent_node_accepts_and_answers_when_the_silence_ends() {
    let index = Index::start("END\r\n").await;
    let node = index.node().await;
    let mut old = Client::to(&node).await;
    assert_eq!(old.ask("ping\r\n").await, "OK\r\n");
    node.fault(Fault::Silence(true));
    let mut new = Client::to(&node).await;
    old.send("ping\r\n").await;
    new.send("version\r\n").await;
    // nothing shows that an answer will never come; too short a wait only makes this weaker
    let silent = timeout(Duration::from_millis(200), new.line()).await;
    assert!(silent.is_err(), "an answer in silence: {silent:?}");
    node.fault(Fault::Silence(false));
    assert_eq!(new.line().await, "VERSION flare-1.3.4\r\n");
    assert_eq!(old.line().await, "OK\r\n");
}

#[tokio::test]
async fn answers_are_halved_withheld_and_cut_off_for_the_named_request_only() {
    let index = Index::start("END\r\n").await;
    let node = index.node().await;
    let spoil = |how, op: &str| Fault::Answer { how, op: Some(op.to_owned()), times: 1 };
    node.fault(spoil(AnswerFault::Half, "version"));
    node.fault(spoil(AnswerFault::Withhold, "node_sync"));
    node.fault(spoil(AnswerFault::Close, "verbosity"));
    let mut client = Client::to(&node).await;
    assert_eq!(client.ask("ping\r\n").await, "OK\r\n");
    client.send(&sync(7, &[(&node, "0 0 0 1")])).await;
    assert_eq!(client.ask("ping\r\n").await, "OK\r\n", "the answer to ping, not to node sync");
    let stats = client.list("stats\r\n").await;
    assert!(stats.contains(&"STAT node_map_version 7".to_owned()), "it was executed: {stats:?}");
    assert_eq!(client.ask("version\r\n").await, "VERSION fl");
    assert_eq!(client.line().await, "", "closed");
    let mut client = Client::to(&node).await;
    assert_eq!(client.ask("version\r\n").await, "VERSION flare-1.3.4\r\n");
    assert_eq!(client.ask("verbosity 1\r\n").await, "");
}

#[tokio::test]
async fn a_dripping_answer_comes_byte_by_byte_until_the_fault_ends() {
    let index = Index::start("END\r\n").await;
    let node = index.node().await;
    node.fault(Fault::Drip(Duration::from_millis(50)));
    let mut client = Client::to(&node).await;
    client.send("version\r\n").await;
    let mut buffer = [0; 64];
    let read = timeout(PATIENCE, client.0.get_mut().read(&mut buffer)).await.expect("a byte");
    assert_eq!(read.expect("no error"), 1);
    node.fault(Fault::Clear);
    assert_eq!(client.line().await, "ERSION flare-1.3.4\r\n");
}

#[tokio::test]
async fn a_node_that_refuses_keeps_its_connections_and_comes_back_at_its_port() {
    let index = Index::start("END\r\n").await;
    let node = index.node().await;
    let mut old = Client::to(&node).await;
    assert_eq!(old.ask("ping\r\n").await, "OK\r\n");
    let address = node.address().unwrap();
    let connects = |wanted: bool| async move {
        while TcpStream::connect(address).await.is_ok() != wanted {
            sleep(Duration::from_millis(5)).await;
        }
    };
    node.fault(Fault::Refuse(true));
    timeout(PATIENCE, connects(false)).await.expect("refused");
    assert_eq!(old.ask("ping\r\n").await, "OK\r\n");
    node.fault(Fault::Refuse(false));
    timeout(PATIENCE, connects(true)).await.expect("accepted again");
}

#[tokio::test]
async fn a_killed_node_is_gone_at_once_and_restarts_under_its_name_with_or_without_data() {
    let index = Index::start("END\r\n").await;
    let directory = tempfile::tempdir().unwrap();
    let mut config = index.config().on_disk(directory.path());
    config.pid_path = Some(directory.path().join("flared.pid"));
    let node = StandInNode::start(config).await.unwrap();
    let key = node.key();
    install(1, &[(&node, "0 0 0 1")]).await;
    let mut client = Client::to(&node).await;
    assert_eq!(client.ask("set k 3 0 4\r\ndata\r\n").await, "STORED\r\n");
    assert_eq!(node.kill().await, Exit::Killed);
    assert_eq!(client.line().await, "", "its connections are closed");
    assert!(TcpStream::connect(node.address().unwrap()).await.is_err());
    let node = node.restart(false).await.unwrap();
    assert_eq!(node.key(), key);
    assert_eq!(items(&node).await, "STAT curr_items 1");
    let node = node.restart(true).await.unwrap();
    assert_eq!(items(&node).await, "STAT curr_items 0");
}

#[tokio::test]
async fn a_refused_registration_ends_with_255_and_says_what_the_index_said() {
    let index = Index::start("SERVER_ERROR failed to add node\r\n").await;
    let error = StandInNode::start(index.config()).await.unwrap_err();
    assert_eq!(error.exit_status(), 255);
    let refused = matches!(
        &error,
        StartError::Registration(RegistrationError::Refused { command: "node add", .. })
    );
    assert!(refused && error.to_string().contains("SERVER_ERROR failed to add node"), "{error}");
}

#[tokio::test]
async fn a_taken_port_is_an_error_that_names_it() {
    let index = Index::start("END\r\n").await;
    let first = index.node().await;
    let port = first.address().unwrap().port();
    let config = NodeConfig::new("127.0.0.1", port, &index.address.to_string());
    let error = StandInNode::start(config).await.unwrap_err();
    assert!(error.to_string().contains(&format!("127.0.0.1:{port}")), "{error}");
}

/// As upstream's, of whose 136,696 writes that were acknowledged in 39 orderly ends in sync mode
/// none was missing at the slave.
#[tokio::test]
async fn a_node_that_ends_serves_and_copies_until_the_index_has_answered_its_report() {
    let mut index = Index::start("END\r\n").await;
    let (master, slave) = (index.node().await, index.node().await);
    install(1, &[(&master, "0 0 0 1"), (&slave, "1 0 0 1")]).await;
    let mut client = Client::to(&master).await;
    assert_eq!(client.ask("set a 0 0 1 sync\r\nx\r\n").await, "STORED\r\n");
    index.withholds.send_replace(true);
    let ended = async {
        assert_eq!(index.report().await, format!("shutdown {}", spaced(&master)));
        let address = master.address().expect("it was up");
        assert!(TcpStream::connect(address).await.is_err(), "it listens");
        assert_eq!(client.ask("set b 0 0 1 sync\r\nx\r\n").await, "STORED\r\n");
        assert_eq!(client.ask("ping\r\n").await, "OK\r\n");
        assert_eq!(items(&slave).await, "STAT curr_items 2", "it copies on");
        index.withholds.send_replace(false);
        assert_eq!(client.line().await, "", "its connections are closed");
    };
    let (exit, ()) = tokio::join!(master.stop(), ended);
    assert_eq!(exit, Exit::Status(0));
}

async fn sets_received(node: &NodeHandle) -> u64 {
    let stats = Client::to(node).await.list("stats\r\n").await;
    let sets = stats.iter().find_map(|line| line.strip_prefix("STAT cmd_set "));
    sets.and_then(|sets| sets.parse().ok()).expect("cmd_set")
}

/// flare-protocol.md 12; upstream's nodes were seen to stall in the same way and for as long.
#[tokio::test]
async fn two_masters_of_one_partition_block_each_others_synchronous_writes() {
    let index = Index::start("END\r\n").await;
    let sync_node = || async {
        let config = index.config().with("replication-type", "sync").unwrap();
        StandInNode::start(config.with("net-read-timeout", "1").unwrap()).await.unwrap()
    };
    let (a, b) = (sync_node().await, sync_node().await);
    let first = sync(1, &[(&a, "0 0 0 1"), (&b, "1 0 0 1")]);
    let second = sync(1, &[(&a, "1 0 0 1"), (&b, "0 0 0 1")]);
    assert_eq!(Client::to(&a).await.ask(&first).await, "OK\r\n");
    assert_eq!(Client::to(&b).await.ask(&second).await, "OK\r\n");
    let mut writes = 0;
    loop {
        let mut clients = Vec::new();
        for number in 0..8 {
            let mut client = Client::to(if number % 2 == 0 { &a } else { &b }).await;
            client.send(&format!("set k{writes}.{number} 0 0 1\r\nx\r\n")).await;
            clients.push(client);
        }
        for client in &mut clients {
            assert_eq!(client.line().await, "STORED\r\n", "given up counts as done");
        }
        writes += 8;
        // each write reaches its node, the other one, and its node again; what is more was sent
        // again after the wait for an answer that the other's wait for an answer held up
        if sets_received(&a).await + sets_received(&b).await > 3 * writes {
            return;
        }
        assert!(writes < 800, "100 rounds without a stall");
    }
}
