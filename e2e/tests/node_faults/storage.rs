//! Storage that is damaged, and writes that are held between the storage and the copies. What a
//! damaged node answers is compared with upstream's in `node_differential`.

use super::*;

const SICK: &str = "SERVER_ERROR storage error\r\n";

#[tokio::test]
async fn damage_outlives_restarts_until_the_node_is_emptied_and_sickness_ends_with_the_process() {
    let index = Index::start("END\r\n").await;
    let directory = tempfile::tempdir().unwrap();
    let config = index.config().on_disk(directory.path());
    let mut node = StandInNode::start(config).await.unwrap();
    install(1, &[(&node, "0 0 0 1")]).await;
    assert_eq!(Client::to(&node).await.ask("set bad 0 0 1\r\nx\r\n").await, "STORED\r\n");
    node.fault(Fault::Damage("bad".to_owned()));
    for _ in 0..2 {
        node = node.restart(false).await.unwrap();
        install(1, &[(&node, "0 0 0 1")]).await;
        let mut client = Client::to(&node).await;
        assert_eq!(client.ask("get bad\r\n").await, "END\r\n");
        assert_eq!(items(&node).await, "STAT curr_items 1", "it is counted still");
        assert_eq!(client.ask("ping\r\n").await, "OK\r\n", "nothing has met it yet");
        assert_eq!(client.ask("set bad 0 0 1\r\nx\r\n").await, "SERVER_ERROR i/o error\r\n");
        assert_eq!(client.ask("set good 0 0 1\r\nx\r\n").await, "STORED\r\n");
        assert_eq!(client.ask("delete good\r\n").await, "DELETED\r\n");
        assert_eq!(client.ask("ping\r\n").await, SICK);
    }
    let mut client = Client::to(&node).await;
    assert_eq!(client.ask("flush_all\r\n").await, "OK\r\n");
    assert_eq!(client.ask("set bad 0 0 1\r\nx\r\n").await, "STORED\r\n");
    assert_eq!(client.ask("ping\r\n").await, SICK, "until its process ends");
    let node = node.restart(false).await.unwrap();
    install(1, &[(&node, "0 0 0 1")]).await;
    assert_eq!(Client::to(&node).await.ask("ping\r\n").await, "OK\r\n");
    assert_eq!(Client::to(&node).await.ask("get bad\r\n").await, "VALUE bad 0 1\r\n");
}

#[tokio::test]
async fn a_node_that_falls_sick_does_all_that_it_did() {
    let index = Index::start("END\r\n").await;
    let node = index.node().await;
    node.fault(Fault::FallSick);
    install(1, &[(&node, "0 0 0 1")]).await;
    let mut client = Client::to(&node).await;
    assert_eq!(client.ask("ping\r\n").await, SICK);
    assert_eq!(client.ask("set a 0 0 1\r\nx\r\n").await, "STORED\r\n");
    assert_eq!(client.ask("get a\r\n").await, "VALUE a 0 1\r\n");
}

/// Returns when a client's write waits for something in this node.
async fn writes(node: &NodeHandle, state: &str) {
    let waits = async {
        loop {
            let lines = Client::to(node).await.list("stats threads\r\n").await;
            let ours = lines.iter().find(|line| line.ends_with(":op set"));
            let id = ours.and_then(|line| line.strip_suffix(":op set"));
            if id.is_some_and(|id| lines.contains(&format!("{id}:state {state}"))) {
                return;
            }
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, waits).await.unwrap_or_else(|_| panic!("no write is in state {state}"));
}

/// So 603 of 381,063 acknowledged writes were lost in 100 swaps of real nodes.
#[tokio::test]
async fn a_write_that_began_under_the_old_map_and_ends_under_the_new_is_sent_to_nobody() {
    let index = Index::start("END\r\n").await;
    let (old, new) = (index.node().await, index.node().await);
    let (master, slave, down) = ("0 0 0 1", "1 0 0 1", "0 2 0 1");
    for (version, after, copied) in [(1, (master, slave), "1"), (3, (slave, down), "0")] {
        install(version, &[(&old, master), (&new, slave)]).await;
        for node in [&old, &new] {
            assert_eq!(Client::to(node).await.ask("flush_all\r\n").await, "OK\r\n");
        }
        old.fault(Fault::HoldWrites(true));
        let mut client = Client::to(&old).await;
        client.send("set a 0 0 1 sync\r\nx\r\n").await;
        writes(&old, "execute").await;
        install(version + 1, &[(&old, after.0), (&new, after.1)]).await;
        old.fault(Fault::HoldWrites(false));
        assert_eq!(client.line().await, "STORED\r\n");
        assert_eq!(items(&new).await, format!("STAT curr_items {copied}"));
    }
}

/// As upstream's, whose write was held by a slave that hung.
#[tokio::test]
async fn a_connection_that_is_killed_is_there_until_its_write_is_done() {
    let index = Index::start("END\r\n").await;
    let (master, slave) = (index.node().await, index.node().await);
    install(1, &[(&master, "0 0 0 1"), (&slave, "1 0 0 1")]).await;
    slave.fault(Fault::Silence(true));
    let mut client = Client::to(&master).await;
    client.send("set a 0 0 1 sync\r\nx\r\n").await;
    writes(&master, "execute").await;
    let mut other = Client::to(&master).await;
    let lines = other.list("stats threads\r\n").await;
    let id = lines.iter().find_map(|line| line.strip_suffix(":op set")?.strip_prefix("STAT "));
    assert_eq!(other.ask(&format!("kill {}\r\n", id.expect("a thread"))).await, "OK\r\n");
    writes(&master, "killed").await;
    slave.fault(Fault::Silence(false));
    client.line().await;
    assert_eq!(client.line().await, "", "its connection is closed");
    assert_eq!(items(&slave).await, "STAT curr_items 1");
}
