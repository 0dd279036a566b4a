//! The relay on real sockets: what a node writes waits, then reaches the new master as it came;
//! what it reads before comes from the old master.

mod halves;
mod reach;

use std::cell::Cell;
use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use actix::{Actor, Addr, Context, Handler};
use flare_actors::net::{NetFuture, Network, Stream, SystemNetwork};
use flare_actors::park::{
    CloseRelay, DIALS_MAX, HELD_BYTES_MAX, OPEN_MAX, OpenRelay, ParkActor, Parts, ReleaseRelay,
};
use flare_actors::topology::{RelayEnded, RelayOpened, RelayReached};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::LocalSet;
use tokio::time::timeout;

const DEADLINE: Duration = Duration::from_secs(10);

/// How long nothing has to happen until nothing is taken to happen any more.
const QUIET: Duration = Duration::from_millis(50);

const NOBODY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1);

/// Stands where the topology stands.
struct Ear(mpsc::UnboundedSender<RelayOpened>, mpsc::UnboundedSender<u64>);

impl Actor for Ear {
    type Context = Context<Self>;
}

impl Handler<RelayOpened> for Ear {
    type Result = ();

    fn handle(&mut self, opened: RelayOpened, _: &mut Context<Self>) {
        // The test may have heard enough.
        let _ = self.0.send(opened);
    }
}

impl Handler<RelayReached> for Ear {
    type Result = ();

    fn handle(&mut self, reached: RelayReached, _: &mut Context<Self>) {
        let _ = self.1.send(reached.number);
    }
}

impl Handler<RelayEnded> for Ear {
    type Result = ();

    fn handle(&mut self, _: RelayEnded, _: &mut Context<Self>) {}
}

/// A relay that can be ordered.
struct Park {
    addr: Addr<ParkActor>,
    relays: mpsc::UnboundedReceiver<RelayOpened>,
    reached: mpsc::UnboundedReceiver<u64>,
}

impl Park {
    fn start(network: Rc<dyn Network>) -> Self {
        Self::start_at(network, 0)
    }

    fn start_at(network: Rc<dyn Network>, port: u16) -> Self {
        let (heard, relays) = mpsc::unbounded_channel();
        let (first, reached) = mpsc::unbounded_channel();
        let ear = Ear(heard, first).start();
        let addr = ParkActor::new(Parts {
            network,
            port,
            opened: ear.clone().recipient(),
            reached: ear.clone().recipient(),
            ended: ear.recipient(),
            obituary: None,
        });
        Self { addr: addr.start(), relays, reached }
    }

    /// Opens a relay; where it stands.
    async fn open(
        &mut self,
        number: u64,
        reads_to: SocketAddr,
        peers: Option<BTreeSet<IpAddr>>,
    ) -> SocketAddr {
        self.addr.do_send(OpenRelay { number, reads_to, peers });
        let opened = within(self.relays.recv()).await.expect("the relay tells");
        assert_eq!(opened.number, number);
        let relay = opened.relay.expect("the relay stands");
        relay.as_str().parse().expect("an address and a port")
    }
}

/// A relay that stands, and a connection of a node to it. Nobody serves its reads.
async fn open() -> (Addr<ParkActor>, TcpStream) {
    open_before(NOBODY).await
}

/// A relay that stands before this old master, and a connection of a node to it.
async fn open_before(reads_to: SocketAddr) -> (Addr<ParkActor>, TcpStream) {
    let mut park = Park::start(Rc::new(SystemNetwork));
    let at = park.open(1, reads_to, None).await;
    (park.addr, TcpStream::connect(at).await.expect("it takes connections"))
}

fn address_of(listener: &TcpListener) -> SocketAddr {
    listener.local_addr().expect("it listens")
}

/// The connection ends without an answer.
async fn ends(node: &mut TcpStream) {
    let ended = within(node.read(&mut [0; 16])).await;
    assert!(matches!(ended, Ok(0) | Err(_)), "no answer may come: {ended:?}");
}

async fn within<T>(what: impl Future<Output = T>) -> T {
    timeout(DEADLINE, what).await.expect("in time")
}

#[tokio::test]
async fn writes_wait_for_the_release_and_answers_come_back() {
    let story = async {
        let (park, mut node) = open().await;
        let master = TcpListener::bind("127.0.0.1:0").await.unwrap();
        node.write_all(b"<a:1>set k 0 0 1\r\nx\r\n").await.unwrap();
        node.write_all(b"<a:1>incr n 5\r\n").await.unwrap();
        let early = timeout(Duration::from_millis(50), master.accept()).await;
        assert!(early.is_err(), "nothing may pass before the release");

        park.do_send(ReleaseRelay { to: address_of(&master) });
        let (mut passed, _) = within(master.accept()).await.unwrap();
        let mut bytes = [0; 36];
        within(passed.read_exact(&mut bytes)).await.unwrap();
        assert_eq!(&bytes[..], b"<a:1>set k 0 0 1\r\nx\r\n<a:1>incr n 5\r\n");
        passed.write_all(b"STORED\r\n6\r\n").await.unwrap();
        let mut answer = [0; 11];
        within(node.read_exact(&mut answer)).await.unwrap();
        assert_eq!(&answer, b"STORED\r\n6\r\n");
    };
    LocalSet::new().run_until(story).await;
}

#[tokio::test]
async fn reads_go_on_to_the_old_master_and_writes_behind_them_wait() {
    let story = async {
        let old = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let new = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (park, mut node) = open_before(address_of(&old)).await;
        node.write_all(b"get k\r").await.unwrap();
        node.write_all(b"\ngets l\r\n").await.unwrap();
        let (mut read, _) = within(old.accept()).await.unwrap();
        let mut bytes = [0; 15];
        within(read.read_exact(&mut bytes)).await.unwrap();
        assert_eq!(&bytes, b"get k\r\ngets l\r\n");
        // Released while the answer is awaited: it comes all the same.
        park.do_send(ReleaseRelay { to: address_of(&new) });
        read.write_all(b"VALUE k 0 1\r\n<\r\nEND\r\nEND\r\n").await.unwrap();
        let mut answer = [0; 26];
        within(node.read_exact(&mut answer)).await.unwrap();
        assert_eq!(&answer, b"VALUE k 0 1\r\n<\r\nEND\r\nEND\r\n");

        node.write_all(b"<a:1>set k 0 0 5\r\nget l\r\n\r\nget k\r\n").await.unwrap();
        let (mut passed, _) = within(new.accept()).await.unwrap();
        let mut bytes = [0; 34];
        within(passed.read_exact(&mut bytes)).await.unwrap();
        assert_eq!(&bytes[..], b"<a:1>set k 0 0 5\r\nget l\r\n\r\nget k\r\n");
        let nothing = within(read.read(&mut bytes)).await;
        assert!(matches!(nothing, Ok(0) | Err(_)), "the old master gets no write: {nothing:?}");
    };
    LocalSet::new().run_until(story).await;
}

#[tokio::test]
async fn what_is_still_held_at_the_end_fails() {
    let story = async {
        let (park, mut node) = open().await;
        node.write_all(b"<a:1>set k 0 0 1\r\nx\r\n").await.unwrap();
        park.do_send(CloseRelay);
        ends(&mut node).await;
    };
    LocalSet::new().run_until(story).await;
}

#[tokio::test]
async fn a_release_that_is_followed_by_the_end_still_passes_on() {
    let story = async {
        let old = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (park, mut node) = open_before(address_of(&old)).await;
        let master = TcpListener::bind("127.0.0.1:0").await.unwrap();
        // A read, to see that the relay has taken the connection.
        node.write_all(b"get k\r\n<a:1>incr k 1\r\n").await.unwrap();
        within(old.accept()).await.unwrap();
        park.do_send(ReleaseRelay { to: address_of(&master) });
        park.do_send(CloseRelay);
        let (mut passed, _) = within(master.accept()).await.unwrap();
        let mut bytes = [0; 15];
        within(passed.read_exact(&mut bytes)).await.unwrap();
        assert_eq!(&bytes, b"<a:1>incr k 1\r\n");
    };
    LocalSet::new().run_until(story).await;
}

#[tokio::test]
async fn a_node_that_sends_too_much_is_made_to_wait() {
    let story = async {
        let (park, mut node) = open().await;
        let master = TcpListener::bind("127.0.0.1:0").await.unwrap();
        // More than the kernel keeps for both sides.
        let pieces = 64 << 20 >> 14;
        let sent = Rc::new(Cell::new(0));
        let count = Rc::clone(&sent);
        let writer = tokio::task::spawn_local(async move {
            for _ in 0..pieces {
                node.write_all(&[b'x'; HELD_BYTES_MAX]).await.unwrap();
                count.set(count.get() + 1);
            }
            node.shutdown().await.unwrap();
            // Kept, so that the other direction stays open.
            node
        });
        let mut before = None;
        while before != Some(sent.get()) {
            before = Some(sent.get());
            tokio::time::sleep(QUIET).await;
        }
        assert!(sent.get() < pieces, "the relay takes all that comes");
        park.do_send(ReleaseRelay { to: address_of(&master) });
        let (mut passed, _) = within(master.accept()).await.unwrap();
        let mut all = Vec::new();
        within(passed.read_to_end(&mut all)).await.unwrap();
        assert_eq!(all.len(), pieces * HELD_BYTES_MAX, "nothing is lost");
        writer.await.unwrap();
    };
    LocalSet::new().run_until(story).await;
}

#[tokio::test]
async fn a_second_relay_takes_the_place_of_the_first() {
    let story = async {
        let mut park = Park::start(Rc::new(SystemNetwork));
        let first = park.open(1, NOBODY, None).await;
        let mut node = TcpStream::connect(first).await.unwrap();
        node.write_all(b"<a:1>incr k 1\r\n").await.unwrap();
        let second = park.open(2, NOBODY, None).await;
        ends(&mut node).await;
        let refused = within(TcpStream::connect(first)).await.expect_err("it listens no more");
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);

        let mut node = TcpStream::connect(second).await.unwrap();
        let master = TcpListener::bind("127.0.0.1:0").await.unwrap();
        node.write_all(b"<a:1>incr k 1\r\n").await.unwrap();
        park.addr.do_send(ReleaseRelay { to: address_of(&master) });
        within(master.accept()).await.expect("the second is served");
    };
    LocalSet::new().run_until(story).await;
}

#[tokio::test(start_paused = true)]
async fn a_relay_ends_by_itself_and_takes_no_other_with_it() {
    let stands = |at| std::net::TcpStream::connect(at).is_ok();
    let later = || tokio::time::sleep(OPEN_MAX / 2 + Duration::from_millis(1));
    let story = async {
        let mut park = Park::start(Rc::new(SystemNetwork));
        park.open(1, NOBODY, None).await;
        later().await;
        let second = park.open(2, NOBODY, None).await;
        later().await;
        assert!(stands(second), "the first one's time is over, not its own");
        later().await;
        assert!(!stands(second), "nobody closed it");
    };
    LocalSet::new().run_until(story).await;
}

#[tokio::test]
async fn a_new_master_is_not_called_by_all_at_once() {
    const NODES: usize = 3 * DIALS_MAX;
    let story = async {
        let mut park = Park::start(Rc::new(SystemNetwork));
        let at = park.open(1, NOBODY, None).await;
        let master = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut nodes = Vec::new();
        for _ in 0..NODES {
            let mut node = TcpStream::connect(at).await.unwrap();
            node.write_all(b"<a:1>incr k 1\r\n").await.unwrap();
            nodes.push(node);
        }
        // One that has nothing to say yet.
        let _idle = TcpStream::connect(at).await.unwrap();
        park.addr.do_send(ReleaseRelay { to: address_of(&master) });
        let (mut waiting, mut answered) = (Vec::new(), Vec::new());
        while answered.len() < NODES {
            if let Ok(accepted) = timeout(QUIET, master.accept()).await {
                waiting.push(accepted.unwrap().0);
                assert!(waiting.len() <= DIALS_MAX, "{} at once", waiting.len());
                continue;
            }
            // Nobody else calls: those that wait are answered.
            for mut passed in waiting.drain(..) {
                passed.write_all(b"1\r\n").await.unwrap();
                answered.push(passed);
            }
        }
        for mut node in nodes {
            let mut answer = [0; 3];
            within(node.read_exact(&mut answer)).await.unwrap();
            assert_eq!(&answer, b"1\r\n");
        }
        assert!(timeout(QUIET, master.accept()).await.is_err(), "an idle one does not call");
    };
    LocalSet::new().run_until(story).await;
}

/// The host's network, in which no connection is ever made; counts the attempts.
#[derive(Default)]
struct Unreachable(Cell<usize>);

impl Unreachable {
    async fn tried(&self, times: usize) {
        let tried = async {
            while self.0.get() < times {
                tokio::task::yield_now().await;
            }
        };
        within(tried).await;
    }
}

impl Network for Unreachable {
    fn connect(&self, _: SocketAddr) -> NetFuture<Box<dyn Stream>> {
        self.0.set(self.0.get() + 1);
        Box::pin(std::future::pending())
    }

    fn connect_to_order(&self, to: SocketAddr) -> NetFuture<Box<dyn Stream>> {
        self.connect(to)
    }

    fn resolve(&self, name: &str) -> NetFuture<Vec<IpAddr>> {
        SystemNetwork.resolve(name)
    }

    fn address_towards(&self, to: IpAddr) -> io::Result<IpAddr> {
        SystemNetwork.address_towards(to)
    }

    fn is_local(&self, address: IpAddr) -> bool {
        SystemNetwork.is_local(address)
    }
}

#[tokio::test]
async fn what_cannot_be_reached_keeps_no_connection_open() {
    let story = async {
        let network = Rc::new(Unreachable::default());
        let mut park = Park::start(Rc::clone(&network) as Rc<_>);
        let at = park.open(1, NOBODY, None).await;
        let mut reader = TcpStream::connect(at).await.unwrap();
        reader.write_all(b"get k\r\n").await.unwrap();
        network.tried(1).await;
        park.addr.do_send(CloseRelay);
        ends(&mut reader).await;

        let at = park.open(2, NOBODY, None).await;
        let mut writer = TcpStream::connect(at).await.unwrap();
        writer.write_all(b"<a:1>incr k 1\r\n").await.unwrap();
        park.addr.do_send(ReleaseRelay { to: NOBODY });
        network.tried(2).await;
        park.addr.do_send(CloseRelay);
        ends(&mut writer).await;
    };
    LocalSet::new().run_until(story).await;
}
