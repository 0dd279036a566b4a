//! Where the relay stands, and that it says when a node has reached it.

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::rc::Rc;

use flare_actors::net::{Network, SystemNetwork};
use flare_actors::park::{CloseRelay, ReleaseRelay};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::LocalSet;
use tokio::time::timeout;

use crate::{NOBODY, Park, QUIET, address_of, ends, within};

#[tokio::test]
async fn that_a_node_reaches_it_is_said_once() {
    let story = async {
        let mut park = Park::start(Rc::new(SystemNetwork));
        let at = park.open(7, NOBODY, None).await;
        assert!(timeout(QUIET, park.reached.recv()).await.is_err(), "nobody has connected");
        let _nodes = (TcpStream::connect(at).await.unwrap(), TcpStream::connect(at).await.unwrap());
        assert_eq!(within(park.reached.recv()).await, Some(7));
        assert!(timeout(QUIET, park.reached.recv()).await.is_err(), "it is said once");
    };
    LocalSet::new().run_until(story).await;
}

#[tokio::test]
async fn it_stands_on_the_port_that_is_wanted_one_time_after_the_other() {
    let story = async {
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let wanted = address_of(&free);
        drop(free);
        let mut park = Park::start_at(Rc::new(SystemNetwork), wanted.port());
        let mut nodes = Vec::new();
        for number in 1..=3 {
            assert_eq!(park.open(number, NOBODY, None).await, wanted);
            let mut node = TcpStream::connect(wanted).await.unwrap();
            node.write_all(b"set k 0 0 1\r\nx\r\n").await.unwrap();
            assert_eq!(within(park.reached.recv()).await, Some(number));
            // it ends while its connections still stand
            nodes.push(node);
        }
    };
    LocalSet::new().run_until(story).await;
}

/// Where this machine is known to others, if it is.
#[tokio::test]
async fn it_stands_where_nodes_of_other_machines_reach_it() {
    let other = IpAddr::from([192, 0, 2, 1]);
    let Ok(own) = SystemNetwork.address_towards(other) else { return };
    let story = async {
        let mut park = Park::start(Rc::new(SystemNetwork));
        let peers = BTreeSet::from([NOBODY.ip(), other]);
        let at = park.open(1, NOBODY, Some(peers)).await;
        assert_eq!(at.ip(), own, "a loopback address is another machine's own there");
    };
    LocalSet::new().run_until(story).await;
}

#[tokio::test]
async fn only_nodes_may_connect() {
    let story = async {
        let mut park = Park::start(Rc::new(SystemNetwork));
        let master = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let elsewhere = BTreeSet::from([IpAddr::from([192, 0, 2, 1])]);
        let at = park.open(1, NOBODY, Some(elsewhere.clone())).await;
        ends(&mut TcpStream::connect(at).await.unwrap()).await;
        // A node beside the index may call from any address of the host.
        let here = [&elsewhere, &BTreeSet::from([IpAddr::from([127, 0, 0, 9])])];
        let here = here.into_iter().flatten().copied().collect();
        let at = park.open(2, NOBODY, Some(here)).await;
        let mut node = TcpStream::connect(at).await.unwrap();
        node.write_all(b"<a:1>incr k 1\r\n").await.unwrap();
        park.addr.do_send(ReleaseRelay { to: address_of(&master) });
        within(master.accept()).await.expect("it is served");
    };
    LocalSet::new().run_until(story).await;
}

#[tokio::test]
async fn a_connection_that_comes_with_the_end_leaves_nothing_behind() {
    let story = async {
        let mut park = Park::start(Rc::new(SystemNetwork));
        for number in 0..20 {
            let at = park.open(number, NOBODY, None).await;
            // Connected by the kernel; the relay cannot have run since.
            let node = std::net::TcpStream::connect(at).unwrap();
            park.addr.do_send(CloseRelay);
            node.set_nonblocking(true).unwrap();
            let mut node = TcpStream::from_std(node).unwrap();
            ends(&mut node).await;
            let refused = within(TcpStream::connect(at)).await.expect_err("it listens no more");
            assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        }
    };
    LocalSet::new().run_until(story).await;
}
