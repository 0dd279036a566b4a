//! Requests that meet the moment in which a node makes its connections to another one: who is
//! lost, what it is told, and what `stats threads` shows. All as seen on real nodes whose new
//! threads were held.

use super::*;

/// The states of the threads towards the first node of a map, in the order of their numbers.
async fn states(node: &NodeHandle) -> Vec<String> {
    let lines = Client::to(node).await.list("stats threads\r\n").await;
    let field = |line: &str, name: &str| {
        let (id, value) = line.strip_prefix("STAT ")?.split_once(&format!(":{name} "))?;
        Some((id.to_owned(), value.to_owned()))
    };
    let towards: Vec<_> = lines.iter().filter_map(|line| field(line, "type")).collect();
    let towards = towards.iter().filter(|(_, kind)| kind == "17").map(|(id, _)| id);
    let all: Vec<_> = lines.iter().filter_map(|line| field(line, "state")).collect();
    let state = |id: &String| all.iter().find(|(at, _)| at == id).map(|(_, state)| state.clone());
    towards.filter_map(state).collect()
}

async fn shows(node: &NodeHandle, wanted: &[&str]) {
    let shown = async {
        while states(node).await != wanted {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, shown).await.unwrap_or_else(|_| panic!("{wanted:?} are not shown"));
}

/// A node whose new threads are held, and the node of thread type 17 that it passes on to.
async fn held(index: &Index, first: &str, second: &str) -> (NodeHandle, NodeHandle) {
    let (node, other) = (index.node().await, index.node().await);
    node.fault(Fault::HoldThreads(true));
    install(1, &[(&node, first), (&other, second)]).await;
    (node, other)
}

/// Two clients whose requests make the two connections, which are held. There are three when they
/// are let go, of which the second client must not take the last: it is still being made then.
async fn makers(node: &NodeHandle, requests: [&str; 2]) -> [Client; 2] {
    let mut makers = [Client::to(node).await, Client::to(node).await];
    makers[0].send(requests[0]).await;
    shows(node, &["setup"]).await;
    makers[1].send(requests[1]).await;
    shows(node, &["setup", "setup"]).await;
    makers
}

#[tokio::test]
async fn what_meets_connections_that_are_being_made_is_missed_or_refused() {
    let index = Index::start("END\r\n").await;
    let (node, master) = held(&index, "2 0 -1 0", "0 0 0 1").await;
    let mut client = Client::to(&master).await;
    for kept in ["a", "kept"] {
        assert_eq!(client.ask(&format!("set {kept} 0 0 1\r\nx\r\n")).await, "STORED\r\n");
    }
    let mut makers = makers(&node, ["set one 0 0 1\r\nx\r\n", "get a\r\n"]).await;

    let mut other = Client::to(&node).await;
    assert_eq!(other.ask("get kept\r\n").await, "END\r\n", "a miss that is none");
    for refused in ["set two 0 0 1\r\nx\r\n", "incr two 1\r\n", "delete kept\r\n"] {
        assert_eq!(other.ask(refused).await, "SERVER_ERROR proxy failure\r\n", "{refused}");
    }
    other.send("set two 0 0 1 noreply\r\nx\r\n").await;
    assert_eq!(other.line().await, "SERVER_ERROR proxy failure\r\n");

    node.fault(Fault::HoldThreads(false));
    assert_eq!(makers[0].line().await, "STORED\r\n", "who makes them loses nothing");
    assert_eq!(makers[1].line().await, "VALUE a 0 1\r\n");
    // the first went on to the second connection, which the second had made meanwhile
    shows(&node, &["wait", "wait", "wait"]).await;
    assert_eq!(other.list("get kept one two\r\n").await.len(), 4, "two keys of three");
}

#[tokio::test]
async fn copies_that_meet_connections_being_made_are_lost_and_their_clients_are_told_stored() {
    for mode in ["async", "sync"] {
        let index = Index::start("END\r\n").await;
        let (master, slave) = held(&index, "0 0 0 1", "1 0 0 1").await;
        let write = |key: &str| format!("set {key} 0 0 1 {mode}\r\nx\r\n");
        let mut makers = makers(&master, [&write("one"), &write("two")]).await;
        let mut other = Client::to(&master).await;
        assert_eq!(other.ask(&write("lost")).await, "STORED\r\n", "{mode}");

        master.fault(Fault::HoldThreads(false));
        for maker in &mut makers {
            assert_eq!(maker.line().await, "STORED\r\n");
        }
        shows(&master, &["wait", "wait", "wait"]).await;
        assert_eq!(items(&master).await, "STAT curr_items 3");
        assert_eq!(items(&slave).await, "STAT curr_items 2", "{mode}: one copy is missing");
    }
}

#[tokio::test]
async fn connections_stay_when_the_other_node_dies_or_loses_its_role() {
    let index = Index::start("END\r\n").await;
    let (master, slave) = (index.node().await, index.node().await);
    let map = [(&master, "0 0 0 1"), (&slave, "1 0 0 1")];
    install(1, &map).await;
    let mut client = Client::to(&master).await;
    assert_eq!(client.ask("set a 0 0 1 sync\r\nx\r\n").await, "STORED\r\n");
    master.fault(Fault::HoldThreads(true));
    install(2, &[(&master, "0 0 0 1"), (&slave, "2 2 -1 0")]).await;
    let slave = slave.restart(false).await.expect("a node");
    install(3, &[(&master, "0 0 0 1"), (&slave, "1 0 0 1")]).await;
    assert_eq!(client.ask("set b 0 0 1 sync\r\nx\r\n").await, "STORED\r\n");
    assert_eq!(items(&slave).await, "STAT curr_items 1", "sent on a connection of before");
    shows(&master, &["wait", "wait"]).await;
}

#[tokio::test]
async fn a_connection_that_is_killed_is_made_again_by_the_next_request() {
    let index = Index::start("END\r\n").await;
    let (node, master) = (index.node().await, index.node().await);
    install(1, &[(&node, "2 0 -1 0"), (&master, "0 0 0 1")]).await;
    let mut client = Client::to(&node).await;
    assert_eq!(client.ask("set a 0 0 1\r\nx\r\n").await, "STORED\r\n");
    shows(&node, &["wait", "wait"]).await;
    let lines = client.list("stats threads\r\n").await;
    let ours = |line: &&String| line.ends_with(":type 17");
    let id = lines.iter().find(ours).and_then(|line| line.split([' ', ':']).nth(1));
    assert_eq!(client.ask(&format!("kill {}\r\n", id.expect("a thread"))).await, "OK\r\n");
    shows(&node, &["wait"]).await;
    assert_eq!(client.ask("set b 0 0 1\r\nx\r\n").await, "STORED\r\n");
    shows(&node, &["wait", "wait"]).await;
}
