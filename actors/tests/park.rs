//! The relay on real sockets: what a node writes waits, then reaches the new master as it came;
//! what it reads before comes from the old master.

use std::rc::Rc;
use std::time::Duration;

use actix::{Actor, Addr, Context, Handler};
use flare_actors::net::SystemNetwork;
use flare_actors::park::{CloseRelay, HELD_BYTES_MAX, OpenRelay, ParkActor, Parts, ReleaseRelay};
use flare_actors::topology::{RelayEnded, RelayOpened};
use flare_core::model::NodeKey;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::LocalSet;
use tokio::time::timeout;

const DEADLINE: Duration = Duration::from_secs(10);

/// Stands where the topology stands.
struct Ear(mpsc::UnboundedSender<Option<NodeKey>>);

impl Actor for Ear {
    type Context = Context<Self>;
}

impl Handler<RelayOpened> for Ear {
    type Result = ();

    fn handle(&mut self, opened: RelayOpened, _: &mut Context<Self>) {
        // The test may have heard enough.
        let _ = self.0.send(opened.relay);
    }
}

impl Handler<RelayEnded> for Ear {
    type Result = ();

    fn handle(&mut self, _: RelayEnded, _: &mut Context<Self>) {}
}

/// A relay that stands, and a connection of a node to it. Nobody serves its reads.
async fn open() -> (Addr<ParkActor>, TcpStream) {
    open_before(NodeKey::new("127.0.0.1", 1)).await
}

/// A relay that stands before this old master, and a connection of a node to it.
async fn open_before(reads_to: NodeKey) -> (Addr<ParkActor>, TcpStream) {
    let (heard, mut relays) = mpsc::unbounded_channel();
    let ear = Ear(heard).start();
    let park = ParkActor::new(Parts {
        network: Rc::new(SystemNetwork),
        opened: ear.clone().recipient(),
        ended: ear.recipient(),
        obituary: None,
    })
    .start();
    park.do_send(OpenRelay { reads_to });
    let opened = within(relays.recv()).await.expect("the relay tells");
    let relay = opened.expect("the relay stands");
    let node = TcpStream::connect(relay.as_str()).await.expect("it takes connections");
    (park, node)
}

fn key_of(listener: &TcpListener) -> NodeKey {
    let at = listener.local_addr().expect("it listens");
    NodeKey::parse(&at.to_string()).expect("an IPv4 address and a port")
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

        park.do_send(ReleaseRelay { to: key_of(&master) });
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
        let (park, mut node) = open_before(key_of(&old)).await;
        node.write_all(b"get k\r").await.unwrap();
        node.write_all(b"\ngets l\r\n").await.unwrap();
        let (mut read, _) = within(old.accept()).await.unwrap();
        let mut bytes = [0; 15];
        within(read.read_exact(&mut bytes)).await.unwrap();
        assert_eq!(&bytes, b"get k\r\ngets l\r\n");
        // Released while the answer is awaited: it comes all the same.
        park.do_send(ReleaseRelay { to: key_of(&new) });
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
        let ended = within(node.read(&mut [0; 16])).await;
        assert!(matches!(ended, Ok(0) | Err(_)), "no answer may come: {ended:?}");
    };
    LocalSet::new().run_until(story).await;
}

#[tokio::test]
async fn a_release_that_is_followed_by_the_end_still_passes_on() {
    let story = async {
        let (park, mut node) = open().await;
        let master = TcpListener::bind("127.0.0.1:0").await.unwrap();
        node.write_all(b"<a:1>incr k 1\r\n").await.unwrap();
        park.do_send(ReleaseRelay { to: key_of(&master) });
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
        let sent = 32 * HELD_BYTES_MAX;
        let writer = tokio::task::spawn_local(async move {
            node.write_all(&vec![b'x'; sent]).await.unwrap();
            node.shutdown().await.unwrap();
            // Kept, so that the other direction stays open.
            node
        });
        tokio::task::yield_now().await;
        park.do_send(ReleaseRelay { to: key_of(&master) });
        let (mut passed, _) = within(master.accept()).await.unwrap();
        let mut all = Vec::new();
        within(passed.read_to_end(&mut all)).await.unwrap();
        assert_eq!(all.len(), sent, "nothing is lost");
        writer.await.unwrap();
    };
    LocalSet::new().run_until(story).await;
}
