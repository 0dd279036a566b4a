//! A master that gets a slave has its connections to it before the slave hears of it.

use std::time::Duration;

use crate::node::FakeNode;
use crate::rig::{Rig, eventually, simulated};

/// The thread type of the second node that registers.
const SLAVE: u32 = 17;

/// A master that is slow to connect to the node that is about to become its slave, when it was
/// written to for that.
async fn slow_master(rig: &Rig) -> (FakeNode, FakeNode) {
    let master = rig.joined(1001).await;
    eventually("a master", || rig.entry(1001) == "master active").await;
    master.behave().connecting = vec![SLAVE];
    let slave = rig.joined(1002).await;
    let written = |node: &FakeNode| node.asked().iter().any(|asked| asked.line.starts_with("set "));
    eventually("a slave", || rig.entry(1002) == "slave prepare").await;
    eventually("our write", || written(&master)).await;
    (master, slave)
}

fn is_told(node: &FakeNode, version: u64) -> bool {
    node.maps().iter().any(|(told, _)| *told == version)
}

#[test]
fn connections_that_are_only_being_made_are_waited_for() {
    simulated(async {
        let rig = Rig::automatic();
        let (master, slave) = slow_master(&rig).await;
        let version = rig.version();
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert!(!is_told(&slave, version), "what is written after its copy is dropped");
        master.behave().connecting.clear();
        let began = rig.now();
        eventually("the map", || is_told(&slave, version)).await;
        assert!(rig.now() - began <= 10, "{} ms", rig.now() - began);
    });
}

#[test]
fn connections_that_are_never_made_are_not_waited_for_long() {
    simulated(async {
        let rig = Rig::automatic();
        let (_master, slave) = slow_master(&rig).await;
        let (began, version) = (rig.now(), rig.version());
        eventually("the map", || is_told(&slave, version)).await;
        // the link gives up by then, and a person is told
        assert!((1_900..=2_100).contains(&(rig.now() - began)), "{} ms", rig.now() - began);
    });
}
