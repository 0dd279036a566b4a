//! Writers that wait for their own writes, at a node that has just become a slave.

use std::time::Duration;

use crate::node::{FakeNode, Waiting};
use crate::rig::{Rig, eventually, simulated};

/// Thread types: numbers are given from 16 on, in the order in which nodes join.
const MASTER: u32 = 16;
const SLAVE: u32 = 17;

/// For longer than this nobody is looked after.
const LOOKED_AFTER: Duration = Duration::from_secs(10);

/// A master, and a node that has just learned that it is its slave.
async fn a_new_slave(rig: &Rig) -> (FakeNode, FakeNode) {
    let master = rig.joined(1001).await;
    eventually("a master", || rig.entry(1001) == "master active").await;
    let slave = rig.joined(1002).await;
    eventually("a slave", || rig.entry(1002) == "slave prepare").await;
    eventually("the map", || slave.behave().version == rig.version()).await;
    (master, slave)
}

/// The threads that were ended at a node, as often as they were.
fn ended(node: &FakeNode) -> Vec<u32> {
    let asked = node.asked();
    let kills = asked.iter().filter_map(|asked| asked.line.strip_prefix("kill "));
    kills.map(|thread| thread.parse().expect("a number")).collect()
}

fn waiting(thread: u32, towards: u32, behind: u64) -> Waiting {
    Waiting { thread, towards, behind, tries: 4 }
}

#[test]
fn writes_that_wait_for_themselves_are_ended_try_by_try_and_no_others() {
    simulated(async {
        let rig = Rig::automatic();
        let (master, slave) = a_new_slave(&rig).await;
        let others = [waiting(6, MASTER, 1), waiting(7, 99, 600)];
        slave.behave().waiting = [&others[..], &[waiting(5, MASTER, 2)]].concat();
        master.behave().waiting = vec![waiting(8, SLAVE, 600)];
        let began = rig.now();
        eventually("its end", || slave.behave().waiting == others).await;
        // A look, then a try after another: not one per look.
        assert!(rig.now() - began <= 1_000, "{} ms", rig.now() - began);
        tokio::time::sleep(2 * LOOKED_AFTER).await;
        assert_eq!(ended(&slave), [5; 4]);
        assert!(ended(&master).is_empty(), "what a master sends has to arrive");
    });
}

#[test]
fn a_node_is_looked_after_for_a_while_only() {
    simulated(async {
        let rig = Rig::automatic();
        let (_master, slave) = a_new_slave(&rig).await;
        // A write that is stuck shows that it is looked after by now.
        slave.behave().waiting = vec![waiting(4, MASTER, 2)];
        eventually("its end", || slave.behave().waiting.is_empty()).await;
        tokio::time::sleep(LOOKED_AFTER).await;
        slave.behave().waiting = vec![waiting(5, MASTER, 600)];
        tokio::time::sleep(LOOKED_AFTER).await;
        assert_eq!(ended(&slave), [4; 4], "and nothing later");
    });
}

#[test]
fn what_a_slave_sends_when_it_is_the_master_is_not_ended() {
    simulated(async {
        let rig = Rig::automatic();
        let (master, slave) = a_new_slave(&rig).await;
        assert_eq!(rig.order("node state 127.0.0.1 1002 active").await, "OK\r\n");
        master.die();
        eventually("the failover", || rig.entry(1002) == "master active").await;
        slave.behave().waiting = vec![waiting(5, MASTER, 600), waiting(6, SLAVE, 600)];
        tokio::time::sleep(LOOKED_AFTER).await;
        assert!(ended(&slave).is_empty());
    });
}
