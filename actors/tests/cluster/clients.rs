//! Clients of a master that is swapped are led away: their connections are ended, and waited for.

use std::time::Duration;

use flare_actors::overview::SwitchMaster;
use flare_core::topology::{HandoverHow, HandoverWay};

use crate::node::FakeNode;
use crate::rig::{Rig, eventually, simulated};

/// A master with an active slave, right after pings: nothing else is asked for most of a second.
async fn quiet_pair(rig: &Rig) -> (FakeNode, FakeNode) {
    let master = rig.joined(1001).await;
    let slave = rig.joined(1002).await;
    for order in ["role 127.0.0.1 1001 master 1 0", "role 127.0.0.1 1002 slave 1 0"] {
        assert_eq!(rig.order(&format!("node {order}")).await, "OK\r\n");
    }
    assert_eq!(rig.order("node state 127.0.0.1 1002 active").await, "OK\r\n");
    let has_map = |version| [&master, &slave].iter().all(|n| n.behave().version == version);
    eventually("the map", || has_map(rig.version())).await;
    let pings = || master.asked().iter().filter(|asked| asked.line == "ping").count();
    let before = pings();
    eventually("a ping", || pings() > before).await;
    tokio::time::sleep(Duration::from_millis(10)).await;
    (master, slave)
}

async fn swap(rig: &Rig) {
    let how = HandoverHow { way: HandoverWay::Pause, end_clients: true };
    let swap = SwitchMaster { partition: 0, to: None, how };
    let swapped = rig.cluster.topology.send(swap).await.expect("the topology answers");
    assert_eq!(swapped, Ok(()));
}

/// When the node was first, and last, asked something that begins like this.
fn asked(node: &FakeNode, what: &str) -> (u64, u64) {
    let asked = node.asked();
    let mut times = asked.iter().filter(|asked| asked.line.starts_with(what)).map(|asked| asked.at);
    let first = times.next().expect("it was asked");
    (first, times.next_back().unwrap_or(first))
}

#[test]
fn the_clients_of_a_master_that_is_swapped_are_ended_at_once() {
    simulated(async {
        let rig = Rig::start();
        let (master, _) = quiet_pair(&rig).await;
        let ordered = rig.now();
        swap(&rig).await;
        let (at, _) = asked(&master, "kill 12");
        assert!(at - ordered <= 10, "{} ms", at - ordered);
    });
}

#[test]
fn nobody_is_told_of_a_swap_while_a_client_that_was_ended_is_at_a_write() {
    simulated(async {
        let rig = Rig::start();
        let (master, slave) = quiet_pair(&rig).await;
        master.behave().client_lasts = 20;
        let before = slave.maps().len();
        swap(&rig).await;
        let (ended, gone) =
            (asked(&master, "kill 12").1, asked(&master, "stats threads request").1);
        let maps = slave.asked();
        let told = maps.iter().filter(|asked| asked.line.starts_with("node sync")).nth(before);
        let told = told.expect("the slave is told").at;
        assert_eq!(master.behave().client_lasts, 0, "it is not looked until it has gone");
        assert!(gone - ended >= 38 && told >= gone, "ended {ended}, gone {gone}, told {told}");
    });
}

#[test]
fn a_client_that_does_not_end_is_waited_for_half_a_second() {
    simulated(async {
        let rig = Rig::start();
        let (master, _) = quiet_pair(&rig).await;
        master.behave().client_lasts = u32::MAX;
        let ordered = rig.now();
        swap(&rig).await;
        let (_, looked) = asked(&master, "stats threads request");
        assert!((500..=510).contains(&(looked - ordered)), "{} ms", looked - ordered);
    });
}
