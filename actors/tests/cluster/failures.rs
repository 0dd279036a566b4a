//! What breaks, and what goes on.

use flare_actors::session::{Limits, StopAccepting};
use flare_actors::topology::FinishSteps;

use crate::network::Landmine;
use crate::rig::{Rig, StoreMode, eventually, simulated};

#[test]
fn a_panic_in_a_session_costs_that_connection_only() {
    simulated(async {
        let mut rig = Rig::start();
        let mut other = rig.client();
        assert_eq!(other.line("ping").await, "OK\r\n");
        rig.dialer.send(Ok((Box::new(Landmine), "127.0.0.1:5".parse().unwrap())));
        assert_eq!(other.line("ping").await, "OK\r\n");
        let stats = other.block("stats").await;
        assert!(stats.contains("curr_connections 1\r\n"), "it is forgotten: {stats}");
        assert!(stats.contains("total_connections 2\r\n"), "{stats}");
        assert!(rig.deaths.try_recv().is_err());
    });
}

#[test]
fn a_link_that_ends_by_a_bug_is_made_again() {
    simulated(async {
        let rig = Rig::start();
        rig.pipes.mine(1001);
        let answer = rig.client().block("node add 127.0.0.1 1001").await;
        assert!(answer.ends_with("END\r\n"), "{answer}");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        let node = rig.node(1001);
        eventually("the map", || node.behave().version == rig.version()).await;
        assert_eq!(rig.entry(1001), "proxy active");
    });
}

#[test]
fn a_change_that_cannot_be_stored_is_refused_and_pushed_to_nobody() {
    simulated(async {
        let rig = Rig::start();
        let node = rig.joined(1001).await;
        let (version, maps) = (rig.version(), node.maps().len());
        *rig.store.borrow_mut() = StoreMode::Fails;
        let answer = rig.order("node role 127.0.0.1 1001 master 1 0").await;
        assert_eq!(answer, "SERVER_ERROR failed to set role (and balance)\r\n");
        assert_eq!(rig.order("ping").await, "OK\r\n", "service goes on");
        assert_eq!(rig.version(), version);
        assert_eq!(node.maps().len(), maps);
        assert_eq!(rig.entry(1001), "proxy active");

        *rig.store.borrow_mut() = StoreMode::Writes;
        assert_eq!(rig.order("node role 127.0.0.1 1001 master 1 0").await, "OK\r\n");
        assert_eq!(rig.entry(1001), "master active");
    });
}

#[test]
fn nobody_is_told_of_a_change_before_it_is_stored() {
    simulated(async {
        let rig = Rig::start();
        let node = rig.joined(1001).await;
        let maps = node.maps().len();
        *rig.store.borrow_mut() = StoreMode::Holds;
        let mut client = rig.client();
        client.send("node role 127.0.0.1 1001 master 1 0\r\n").await;
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        assert_eq!(node.maps().len(), maps);
        let nodes = rig.client().block("stats nodes").await;
        assert!(nodes.contains(":role proxy"), "readers see the stored map: {nodes}");
        rig.release_store();
        assert_eq!(client.read_line().await, "OK\r\n");
        eventually("the map", || node.behave().version == rig.version()).await;
    });
}

#[test]
fn a_store_that_hangs_is_told_to_the_asker() {
    simulated(async {
        let rig = Rig::start();
        *rig.store.borrow_mut() = StoreMode::Holds;
        let began = rig.now();
        let answer = rig.order("node add 127.0.0.1 1001").await;
        assert_eq!(answer, "SERVER_ERROR failed to add node\r\n");
        assert_eq!(u128::from(rig.now() - began), Limits::default().answer.as_millis());
        assert_eq!(rig.order("ping").await, "OK\r\n", "service goes on");
    });
}

#[test]
fn the_end_waits_for_what_is_in_hand() {
    simulated(async {
        let rig = Rig::start();
        *rig.store.borrow_mut() = StoreMode::Holds;
        let (mut busy, mut idle) = (rig.client(), rig.client());
        assert_eq!(idle.line("ping").await, "OK\r\n");
        busy.send("node add 127.0.0.1 1001\r\nping\r\n").await;
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        let ended = async {
            rig.cluster.listener.send(StopAccepting).await.expect("the listener answers");
            rig.cluster.topology.send(FinishSteps).await.expect("the topology answers");
        };
        let asked = async {
            assert_eq!(idle.rest().await, "", "an idle connection ends at once");
            assert!(rig.dialer.is_closed(), "nobody is accepted any more");
            rig.release_store();
            busy.rest().await
        };
        let ((), answers) = tokio::join!(ended, asked);
        assert!(answers.starts_with("NODE 127.0.0.1 1001"), "it was answered: {answers}");
    });
}
