//! Connections to the index.

use crate::rig::{Rig, simulated};

#[test]
fn pipelined_requests_are_answered_in_order() {
    simulated(async {
        let rig = Rig::start();
        let mut client = rig.client();
        client.send("ping\r\nnode add 127.0.0.1 1001\r\nversion\nnode add\r\nquit\r\n").await;
        let answers = client.rest().await;
        let lines: Vec<&str> = answers.lines().collect();
        assert_eq!(
            lines,
            ["OK", "NODE 127.0.0.1 1001 2 0 -1 0 16", "END", "VERSION flare-1.3.4", "ERROR"]
        );
    });
}

#[test]
fn a_request_may_come_byte_by_byte() {
    simulated(async {
        let rig = Rig::start();
        let mut client = rig.client();
        for byte in "stats nodes\r".chars() {
            client.send(&byte.to_string()).await;
            tokio::task::yield_now().await;
        }
        client.send("\n").await;
        assert_eq!(client.read_line().await, "END\r\n");
    });
}

#[test]
fn a_killed_session_is_answered_first_if_it_killed_itself() {
    simulated(async {
        let rig = Rig::start();
        let mut client = rig.client();
        let threads = client.block("stats threads request").await;
        let id = threads.strip_prefix("STAT ").and_then(|rest| rest.split(':').next()).unwrap();
        client.send(&format!("kill {id}\r\n")).await;
        assert_eq!(client.rest().await, "OK\r\n");
        let mut other = rig.client();
        let answer = other.line(&format!("kill {id}")).await;
        assert_eq!(answer, "CLIENT_ERROR thread not found\r\n");
    });
}

#[test]
fn an_outsider_can_end_anothers_connection_as_with_flarei() {
    simulated(async {
        let rig = Rig::start();
        let mut victim = rig.client();
        assert_eq!(victim.line("ping").await, "OK\r\n");
        let mut killer = rig.client();
        assert_eq!(killer.line("kill 3").await, "OK\r\n");
        assert_eq!(victim.rest().await, "");
        assert_eq!(killer.line("ping").await, "OK\r\n");
    });
}

#[test]
fn stats_nodes_shows_each_change_at_once() {
    simulated(async {
        let rig = Rig::start();
        let mut client = rig.client();
        assert_eq!(client.block("stats nodes").await, "END\r\n");
        client.block("node add 127.0.0.1 1001").await;
        let nodes = client.block("stats nodes").await;
        assert!(nodes.starts_with("STAT 127.0.0.1:1001:role proxy\r\n"), "{nodes}");
        assert_eq!(client.line("node role 127.0.0.1 1001 master 1 0").await, "OK\r\n");
        let nodes = rig.client().block("stats nodes").await;
        assert!(nodes.starts_with("STAT 127.0.0.1:1001:role master\r\n"), "{nodes}");
    });
}
