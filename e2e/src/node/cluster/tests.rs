//! Routing and role changes of flare-protocol.md 5.2, 5.3 and 6.2, on small maps.

use super::*;
use crate::node::hash::KeyHash;
use crate::node::map::NodeInfo;

fn nodes(lines: &[&str]) -> NodeMap {
    let parse = |line: &&str| NodeInfo::parse(format!("NODE {line}").as_bytes()).expect(line);
    lines.iter().map(parse).map(|node| (node.key(), node)).collect()
}

fn cluster(me: &str, lines: &[&str]) -> Cluster {
    let meta = Meta { partition_size: 1024, hash: KeyHash::Simple, hint: 1, virtuals: 4096 };
    Cluster::new(me.to_owned(), meta, nodes(lines))
}

fn keys(targets: &[Target]) -> Vec<&str> {
    targets.iter().map(|target| target.key.as_str()).collect()
}

// With one partition and the next in preparation, `key1` moves to the new one, `key2` stays
// (flare-protocol.md 1.8).
const PREPARING: &[&str] =
    &["a 1 0 0 0 1 16", "b 1 1 0 0 0 17", "c 1 0 1 1 1 18", "d 1 1 1 1 0 19", "e 1 2 0 -1 0 20"];

#[test]
fn reads_are_local_at_the_master_and_at_slaves_with_an_effective_balance() {
    let map = ["a 1 0 0 0 0 16", "b 1 1 0 0 1 17", "c 1 1 1 0 1 18", "d 1 1 0 0 0 19"];
    assert_eq!(cluster("a:1", &map).read_route(b"k"), ReadRoute::Local, "even with balance 0");
    assert_eq!(cluster("b:1", &map).read_route(b"k"), ReadRoute::Local);
    for other in ["c:1", "d:1", "e:1"] {
        let ReadRoute::Forward(readers) = cluster(other, &map).read_route(b"k") else {
            panic!("{other} forwards");
        };
        assert_eq!(readers.len(), 1, "b only: a has balance 0, c is preparing");
        assert_eq!((readers[0].0.key.as_str(), readers[0].1), ("b:1", 1));
    }
}

#[test]
fn reads_miss_without_readers_and_without_partitions() {
    assert_eq!(cluster("x:1", &["a 1 0 2 0 1 16"]).read_route(b"k"), ReadRoute::Miss);
    assert_eq!(cluster("x:1", &[]).read_route(b"k"), ReadRoute::Miss);
}

#[test]
fn writes_go_to_the_owners_master() {
    let route = |me, proxied, key: &str| match cluster(me, PREPARING)
        .write_route(key.as_bytes(), proxied)
    {
        WriteRoute::Local => "local".to_owned(),
        WriteRoute::Forward(target) => target.key,
        other => panic!("{other:?}"),
    };
    assert_eq!(route("a:1", false, "key1"), "local");
    assert_eq!(route("b:1", false, "key1"), "a:1");
    assert_eq!(route("b:1", true, "key1"), "local", "a copy for a slave");
    assert_eq!(route("c:1", false, "key1"), "a:1");
    assert_eq!(route("c:1", true, "key1"), "local", "a copy for the master in preparation");
    assert_eq!(route("d:1", true, "key1"), "local");
    assert_eq!(route("c:1", true, "key2"), "a:1", "not its key");
    assert_eq!(route("e:1", true, "key1"), "a:1");
}

#[test]
fn writes_without_a_master_or_a_partition() {
    let mut down = cluster("x:1", &["a 1 0 2 0 1 16"]);
    assert_eq!(down.write_route(b"k", false), WriteRoute::NoMaster);
    assert_eq!(cluster("x:1", &[]).write_route(b"k", false), WriteRoute::NoPartition);
}

#[test]
fn results_go_to_all_slaves_and_to_the_master_in_preparation() {
    let copies = |me, proxied, key: &str| cluster(me, PREPARING).copies(key.as_bytes(), proxied);
    let at_master = copies("a:1", false, "key1");
    assert_eq!(keys(&at_master.slaves), ["b:1"]);
    assert_eq!(at_master.preparing.unwrap().key, "c:1");
    assert_eq!(copies("a:1", false, "key2").preparing, None, "not the new partition's key");
    let at_new_master = copies("c:1", true, "key1");
    assert_eq!(keys(&at_new_master.slaves), ["d:1"]);
    assert_eq!(at_new_master.preparing, None);
    assert_eq!(copies("b:1", true, "key1"), Copies::default(), "a slave passes nothing on");
}

#[test]
fn older_maps_are_refused_and_equal_ones_taken() {
    let mut node = cluster("a:1", &["a 1 2 0 -1 0 16"]);
    assert_eq!(node.install(10, nodes(&[])), Ok(Work::Nothing));
    assert_eq!(node.install(10, nodes(&["a 1 2 0 -1 0 16"])), Ok(Work::Nothing));
    assert_eq!(node.install(9, nodes(&[])), Err(Outdated));
    assert_eq!(node.install(0, nodes(&[])), Err(Outdated));
    assert_eq!((node.version(), node.nodes().len()), (10, 1));
}

#[test]
fn only_the_step_from_proxy_starts_a_copy() {
    let proxy = ["a 1 0 0 0 1 16", "b 1 2 0 -1 0 17"];
    let slave = ["a 1 0 0 0 1 16", "b 1 1 1 0 0 17"];
    let mut node = cluster("b:1", &proxy);
    let Ok(Work::Copy(copy)) = node.install(1, nodes(&slave)) else { panic!("a copy") };
    assert_eq!((keys(&copy.sources), copy.partition, copy.size), (vec!["a:1"], 0, 1));
    assert_eq!(copy.as_master, None);
    assert_eq!(node.install(2, nodes(&slave)), Ok(Work::Nothing), "no change");
    let master = ["b 1 0 0 0 1 17"];
    assert_eq!(node.install(3, nodes(&master)), Ok(Work::Nothing), "failover");
    assert_eq!(node.install(4, nodes(&slave)), Ok(Work::Nothing), "master to slave");
    let mut first_map = cluster("b:1", &slave);
    assert_eq!(first_map.install(1, nodes(&slave)), Ok(Work::Nothing), "given from the start");
    let mut unknown = cluster("b:1", &[]);
    assert_eq!(unknown.install(1, nodes(&slave)), Ok(Work::Nothing), "was not in the map");
}

#[test]
fn slaves_of_the_next_partition_of_an_absent_one_and_of_a_down_master() {
    let mut node = cluster("d:1", &["a 1 0 0 0 1 16", "d 1 2 0 -1 0 19"]);
    let Ok(Work::Copy(copy)) = node.install(1, nodes(PREPARING)) else { panic!("a copy") };
    assert_eq!((keys(&copy.sources), copy.partition, copy.size), (vec!["c:1"], 1, 2));
    let mut lost = cluster("d:1", &["a 1 0 0 0 1 16", "d 1 2 0 -1 0 19"]);
    let absent = ["a 1 0 0 0 1 16", "d 1 1 1 1 0 19"];
    assert_eq!(lost.install(1, nodes(&absent)), Ok(Work::BecomeProxy));
    let mut orphan = cluster("d:1", &["a 1 0 0 0 1 16", "d 1 2 0 -1 0 19"]);
    let down = ["a 1 0 2 0 1 16", "d 1 1 1 0 0 19"];
    assert_eq!(orphan.install(1, nodes(&down)), Ok(Work::Nothing), "seen on upstream");
}

#[test]
fn a_new_master_copies_from_every_other_active_master() {
    let mut node = cluster("c:1", &["c 1 2 0 -1 0 18"]);
    let map = ["a 1 0 0 0 1 16", "b 1 0 0 1 1 17", "c 1 0 1 2 1 18"];
    let Ok(Work::Copy(copy)) = node.install(1, nodes(&map)) else { panic!("a copy") };
    assert_eq!((keys(&copy.sources), copy.partition, copy.size), (vec!["a:1", "b:1"], 2, 3));
    assert_eq!(copy.as_master, Some(2));
    let mut first = cluster("a:1", &["a 1 2 0 -1 0 16"]);
    let alone = ["a 1 0 0 0 1 16"];
    assert_eq!(first.install(1, nodes(&alone)), Ok(Work::Nothing), "nobody to copy from");
}

#[test]
fn an_inconsistent_map_leaves_the_routing_in_force() {
    let mut node = cluster("x:1", &["a 1 0 0 0 1 16"]);
    let gap = ["a 1 0 0 0 1 16", "b 1 0 0 2 1 17"];
    assert_eq!(node.install(5, nodes(&gap)), Ok(Work::Nothing));
    assert_eq!(node.version(), 5);
    assert_eq!(node.nodes().len(), 2);
    assert!(matches!(node.write_route(b"k", false), WriteRoute::Forward(t) if t.key == "a:1"));
}
