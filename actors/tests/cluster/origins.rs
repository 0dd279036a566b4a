//! Who counts as the node that a command is about, and what finding that out costs (R15, R16).

use std::time::Duration;

use tokio::time::timeout;

use crate::rig::{Rig, eventually, simulated};

/// A node `one` on port 1001 that is the master of the only partition.
async fn with_a_master(rig: &Rig) -> crate::node::FakeNode {
    let node = rig.node(1001);
    let answer = rig.client().block("node add one 1001").await;
    assert!(answer.ends_with("END\r\n"), "{answer}");
    eventually("a master", || rig.entry_of("one", 1001) == "master active").await;
    node
}

#[test]
fn a_node_that_the_index_is_connected_to_is_known_without_a_name_server() {
    simulated(async {
        let rig = Rig::automatic();
        let _node = with_a_master(&rig).await;
        rig.pipes.hang_names();
        let looked_up = rig.pipes.looked_up();
        assert_eq!(rig.order("node leave one 1001 cancel").await, "OK\r\n");
        assert_eq!(rig.pipes.looked_up(), looked_up, "its address is known");
        let mut outsider = rig.client_from("192.0.2.1:1");
        let answer = outsider.line("node leave one 1001").await;
        assert!(answer.starts_with("SERVER_ERROR"), "{answer}");
    });
}

#[test]
fn a_name_that_the_map_does_not_know_is_looked_up_only_to_be_added() {
    simulated(async {
        let rig = Rig::automatic();
        rig.pipes.hang_names();
        let mut outsider = rig.client_from("192.0.2.1:1");
        for command in ["node state", "node role", "node leave", "node remove", "shutdown"] {
            let rest = match command {
                "node state" => " active",
                "node role" => " proxy 0 -1",
                _ => "",
            };
            let command = format!("{command} far.example 1{rest}");
            let answer = outsider.line(&command).await;
            assert!(answer.starts_with("SERVER_ERROR"), "{command}: {answer}");
        }
        assert_eq!(rig.pipes.looked_up(), Vec::<String>::new());
        outsider.line("node add far.example 1").await;
        assert_eq!(rig.pipes.looked_up(), ["far.example"]);
    });
}

#[test]
fn names_that_nobody_answers_for_hold_up_nobody_else() {
    simulated(async {
        let rig = Rig::automatic();
        rig.pipes.hang_names();
        let mut outsiders = Vec::new();
        for number in 0..100 {
            let mut outsider = rig.client_from(&format!("192.0.2.1:{}", number + 1));
            outsider.send(&format!("node add slow{number}.example 1\r\n")).await;
            outsiders.push(outsider);
        }
        eventually("a lookup", || !rig.pipes.looked_up().is_empty()).await;
        rig.pipes.answer_names();
        let _node = timeout(Duration::from_millis(100), with_a_master(&rig)).await;
        assert_eq!(rig.entry_of("one", 1001), "master active");
        assert_eq!(rig.pipes.looked_up()[..2], ["slow0.example", "one"], "one for each peer");
    });
}

#[test]
fn an_outsider_ends_neither_a_link_of_the_index_nor_anothers_connection() {
    simulated(async {
        let rig = Rig::automatic();
        let _node = with_a_master(&rig).await;
        let threads = rig.client().block("stats threads").await;
        let link = threads
            .lines()
            .find_map(|line| line.strip_prefix("STAT ")?.strip_suffix(":type 16"))
            .expect("a monitor is listed");
        let mut victim = rig.client_from("192.0.2.1:1");
        let ids = victim.block("stats threads request").await;
        let peer = ids.lines().find_map(|line| line.strip_suffix(":peer 192.0.2.1:1"));
        let id = peer.and_then(|line| line.strip_prefix("STAT ")).expect("it is listed");
        let mut outsider = rig.client_from("192.0.2.2:1");
        for thread in [link, id] {
            let answer = outsider.line(&format!("kill {thread}")).await;
            assert_eq!(answer, "SERVER_ERROR failed to kill thread\r\n");
        }
        assert_eq!(outsider.line("kill 99").await, "CLIENT_ERROR thread not found\r\n");
        assert_eq!(victim.line("ping").await, "OK\r\n");
        // Not from this host either: a link is never stuck so that this would help.
        let answer = rig.order(&format!("kill {link}")).await;
        assert_eq!(answer, "SERVER_ERROR failed to kill thread\r\n");
        // One's own connections may be ended, and from this host all of them.
        assert_eq!(rig.client_from("192.0.2.1:2").line(&format!("kill {id}")).await, "OK\r\n");
        assert_eq!(victim.rest().await, "");
    });
}
