//! The map on its way to the nodes.

use std::time::Duration;

use crate::node::FakeNode;
use crate::rig::{Rig, eventually, simulated};

#[test]
fn a_hung_node_delays_nobody_and_commands_are_answered() {
    simulated(async {
        let rig = Rig::start();
        let (one, hung, three) =
            (rig.joined(1001).await, rig.joined(1002).await, rig.joined(1003).await);
        hung.behave().mute = true;
        let began = rig.now();
        assert_eq!(rig.order("node role 127.0.0.1 1001 master 1 0").await, "OK\r\n");
        let version = rig.version();
        eventually("the map at the others", || {
            [&one, &three].iter().all(|node| node.maps().iter().any(|(v, _)| *v == version))
        })
        .await;
        assert!(rig.now() - began <= 2, "{} ms", rig.now() - began);
    });
}

#[test]
fn the_newest_map_replaces_an_unsent_older_one() {
    simulated(async {
        let rig = Rig::start();
        let slow = rig.joined(1001).await;
        slow.behave().sync_delay = Duration::from_millis(500);
        let first = rig.version() + 1;
        for balance in 1..=4 {
            let role = format!("node role 127.0.0.1 1001 master {balance} 0");
            assert_eq!(rig.order(&role).await, "OK\r\n");
        }
        let newest = rig.version();
        assert_eq!(newest, first + 3);
        eventually("the newest map", || slow.behave().version == newest).await;
        let got: Vec<u64> = slow.maps().iter().map(|(version, _)| *version).collect();
        assert!(got.ends_with(&[first, newest]), "{got:?}");
    });
}

#[test]
fn a_missed_push_is_sent_again() {
    simulated(async {
        let rig = Rig::start();
        let node = rig.joined(1001).await;
        // It dies in the middle of the push and is there again before it is held dead.
        node.behave().sync_delay = Duration::from_millis(100);
        assert_eq!(rig.order("node role 127.0.0.1 1001 master 1 0").await, "OK\r\n");
        let version = rig.version();
        eventually("the push", || node.maps().last().is_some_and(|(v, _)| *v == version)).await;
        node.hang_up();
        eventually("the map", || node.behave().version == version).await;
        assert_eq!(rig.entry(1001), "master active");
    });
}

#[test]
fn a_refused_push_is_sent_again() {
    simulated(async {
        let rig = Rig::start();
        let node = rig.joined(1001).await;
        node.behave().sync_refusals = vec!["SERVER_ERROR node sync error"; 2];
        assert_eq!(rig.order("node role 127.0.0.1 1001 master 1 0").await, "OK\r\n");
        let version = rig.version();
        eventually("the map", || node.behave().version == version).await;
        let times: Vec<u64> =
            node.maps().iter().filter(|(v, _)| *v == version).map(|(_, at)| *at).collect();
        assert_eq!(times.len(), 3);
        assert!(times.windows(2).all(|two| two[1] - two[0] >= 900), "not hammered: {times:?}");
    });
}

#[test]
fn a_push_that_is_never_answered_is_given_up_and_sent_on_another_connection() {
    simulated(async {
        let rig = Rig::start();
        let node = rig.joined(1001).await;
        node.behave().mute = true;
        assert_eq!(rig.order("node role 127.0.0.1 1001 master 1 0").await, "OK\r\n");
        let version = rig.version();
        eventually("the push", || node.maps().last().is_some_and(|(v, _)| *v == version)).await;
        let pushed = rig.now();
        eventually("its end", || rig.entry(1001) == "master down").await;
        assert!((2_900..=3_100).contains(&(rig.now() - pushed)), "{} ms", rig.now() - pushed);
        node.behave().mute = false;
        eventually("its return", || rig.entry(1001) == "master active").await;
        eventually("the map", || node.behave().version == rig.version()).await;
    });
}

/// Two partitions' worth of roles: master, slave and a proxy.
async fn master_slave_proxy(rig: &Rig) -> (FakeNode, FakeNode, FakeNode) {
    let nodes = (rig.joined(1001).await, rig.joined(1002).await, rig.joined(1003).await);
    for order in [
        "node role 127.0.0.1 1001 master 1 0",
        "node role 127.0.0.1 1002 slave 1 0",
        "node state 127.0.0.1 1002 active",
    ] {
        assert_eq!(rig.order(order).await, "OK\r\n", "{order}");
    }
    let version = rig.version();
    eventually("the map everywhere", || {
        [&nodes.0, &nodes.1, &nodes.2].iter().all(|node| node.behave().version == version)
    })
    .await;
    nodes
}

#[test]
fn a_new_master_has_the_map_before_the_others_are_told() {
    simulated(async {
        let rig = Rig::start();
        let (old, new, proxy) = master_slave_proxy(&rig).await;
        new.behave().sync_delay = Duration::from_millis(300);
        old.die();
        eventually("the failover", || rig.entry(1002) == "master active").await;
        let version = rig.version();
        eventually("the map at the proxy", || proxy.behave().version == version).await;
        let at = |node: &FakeNode| {
            node.maps().iter().find(|(v, _)| *v == version).map(|(_, at)| *at).expect("it has it")
        };
        assert!(at(&proxy) >= at(&new) + 300, "new {} proxy {}", at(&new), at(&proxy));
    });
}

#[test]
fn a_hung_new_master_holds_the_others_up_only_until_a_deadline() {
    simulated(async {
        let rig = Rig::start();
        let (old, new, proxy) = master_slave_proxy(&rig).await;
        new.behave().mute = true;
        old.die();
        eventually("the failover", || rig.entry(1002) == "master active").await;
        let (version, began) = (rig.version(), rig.now());
        eventually("the map at the proxy", || {
            proxy.maps().iter().any(|(pushed, _)| *pushed >= version)
        })
        .await;
        assert!(rig.now() - began <= 3_500, "{} ms", rig.now() - began);
    });
}
