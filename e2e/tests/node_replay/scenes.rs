//! Which node of which recording is replayed, and what it had behind it when the recording began.

use crate::engine::{Scene, play};

/// 12121/12122 master and slave of partition 0, 12123/12124 of partition 1, 12125 a proxy.
const TWO_BY_TWO: &[&str] = &[
    "12121 0 0 0 1 16",
    "12122 1 0 0 1 17",
    "12123 0 0 1 1 18",
    "12124 1 0 1 1 19",
    "12125 2 0 -1 0 20",
];

#[tokio::test]
async fn observation_commands() {
    play(&Scene {
        started_with: Some(&["12121 0 0 0 1 16", "12122 1 0 0 0 17"]),
        before: &[
            "node sync 5\r\nNODE 127.0.0.1 12121 0 0 0 1 16\r\nNODE 127.0.0.1 12122 1 0 0 0 17\r\n\
             END\r\n",
        ],
        settings: &[("max-connection", "256"), ("mutex-slot", "32"), ("thread-pool-size", "16")],
        ..Scene::new("node-observation-commands", 12121)
    })
    .await;
}

#[tokio::test]
async fn versions_of_maps() {
    play(&Scene {
        started_with: Some(&["12121 2 0 -1 0 16"]),
        ..Scene::new("node-sync-versions", 12121)
    })
    .await;
}

#[tokio::test]
async fn odd_indexes_at_the_start() {
    play(&Scene::new("node-start-up-against-odd-index", 12121)).await;
}

#[tokio::test]
async fn reports_and_failures_of_a_slave() {
    // the failed copy of case 7 is tried by nobody that the recording names
    let own = &[5, 7, 9, 11, 13];
    play(&Scene { own, ..Scene::new("node-state-reports-and-failures", 12121) }).await;
}

#[tokio::test]
async fn reports_and_failures_at_the_master() {
    // at +28.792 its process is ended
    play(&Scene { until: 251, ..Scene::new("node-state-reports-and-failures", 12122) }).await;
}

#[tokio::test]
async fn writes_and_reads_through_a_proxy() {
    let own = &[2, 3, 6, 12, 13, 14, 15];
    let started_with = Some(TWO_BY_TWO);
    play(&Scene { own, started_with, ..Scene::new("proxy-node", 12125) }).await;
}

#[tokio::test]
async fn writes_to_masters_and_slaves() {
    let own_data = |port, data| Scene {
        started_with: Some(&[]),
        before: data,
        ..Scene::new("proxy-node", port)
    };
    play(&Scene { own: &[4], ..own_data(12121, MASTER_0) }).await;
    play(&Scene { own: &[20, 22], ..own_data(12122, SLAVE_0) }).await;
    play(&Scene { own: &[16, 17], ..own_data(12123, MASTER_1) }).await;
    // then its master sends a write without waiting, and the next read races it
    play(&Scene { until: 79, ..own_data(12124, SLAVE_1) }).await;
}

/// `node sync` of a map, and of [`TWO_BY_TWO`] after it.
macro_rules! sync {
    ($version:literal, $($node:literal),*) => {
        concat!("node sync ", $version, "\r\n", $("NODE 127.0.0.1 ", $node, "\r\n",)* "END\r\n")
    };
}

const FULL: &str = sync!(
    "5",
    "12121 0 0 0 1 16",
    "12122 1 0 0 1 17",
    "12123 0 0 1 1 18",
    "12124 1 0 1 1 19",
    "12125 2 0 -1 0 20"
);

// The data are written while the node is alone in the map, so that nothing is passed on.
const MASTER_0: &[&str] = &[
    sync!("1", "12121 0 0 0 1 16"),
    "set key0 0 0 3\r\nv00\r\n",
    "set key2 0 0 3\r\nv02\r\n",
    "set key4 0 0 3\r\nv04\r\n",
    FULL,
];
const SLAVE_0: &[&str] = &[sync!("1", "12122 0 0 0 1 17"), "set key2 0 0 3\r\nv02\r\n", FULL];
const MASTER_1: &[&str] =
    &[sync!("1", "12123 0 0 0 1 18"), "set key1 0 0 3\r\nv01\r\n", "set key3 0 0 1\r\n0\r\n", FULL];
const SLAVE_1: &[&str] =
    &[sync!("1", "12124 0 0 0 1 19"), "set key1 0 0 3\r\nv01\r\n", "set key3 0 0 1\r\n0\r\n", FULL];

const FIVE_PROXIES: &[&str] = &[
    "12121 2 0 -1 0 16",
    "12122 2 0 -1 0 17",
    "12123 2 0 -1 0 18",
    "12124 2 0 -1 0 19",
    "12125 2 0 -1 0 20",
];

/// Plays the parts of several nodes that began with the same map.
async fn parts(transcript: &'static str, map: &'static [&'static str], subjects: &[u16]) {
    for subject in subjects {
        play(&Scene { started_with: Some(map), ..Scene::new(transcript, *subject) }).await;
    }
}

#[tokio::test]
async fn the_first_master() {
    parts("role-first-master", FIVE_PROXIES, &[12121, 12122, 12123, 12124, 12125]).await;
}

#[tokio::test]
async fn a_slave_with_its_dump() {
    const MASTER: &[&str] = &[
        "12121 0 0 0 1 16",
        "12122 2 0 -1 0 17",
        "12123 2 0 -1 0 18",
        "12124 2 0 -1 0 19",
        "12125 2 0 -1 0 20",
    ];
    parts("role-slave-with-dump", MASTER, &[12121, 12123, 12124, 12125]).await;
    let (own, started_with) = (&[8u32][..], Some(MASTER));
    play(&Scene { own, started_with, ..Scene::new("role-slave-with-dump", 12122) }).await;
}

#[tokio::test]
async fn a_second_partition() {
    const ONE: &[&str] = &[
        "12121 0 0 0 1 16",
        "12122 1 0 0 1 17",
        "12123 2 0 -1 0 18",
        "12124 2 0 -1 0 19",
        "12125 2 0 -1 0 20",
    ];
    const NAME: &str = "role-second-partition";
    parts(NAME, ONE, &[12122, 12125]).await;
    let started_with = Some(ONE);
    play(&Scene { own: &[7], started_with, ..Scene::new(NAME, 12123) }).await;
    play(&Scene { own: &[11], started_with, ..Scene::new(NAME, 12124) }).await;
    // 13 keys, some of which the dump leaves out
    let before = &[
        sync!("1", "12121 0 0 0 1 16"),
        "set key0 0 0 3\r\nv00\r\n",
        "set key1 0 0 3\r\nv01\r\n",
        "set key2 0 0 3\r\nv02\r\n",
        "set key3 0 0 3\r\nv03\r\n",
        "set key5 0 0 3\r\nv05\r\n",
        "set key7 0 0 3\r\nv07\r\n",
        "set key9 0 0 3\r\nv09\r\n",
        "set key10 0 0 3\r\nv10\r\n",
        "set key11 0 0 3\r\nv11\r\n",
        "set after 0 0 1\r\nx\r\n",
    ];
    play(&Scene { before, started_with: Some(&[]), ..Scene::new(NAME, 12121) }).await;
}

#[tokio::test]
async fn a_cancelled_scale_out() {
    const READY: &[&str] = &[
        "12121 0 0 0 1 16",
        "12122 1 0 0 1 17",
        "12123 0 0 1 1 18",
        "12124 1 0 1 1 19",
        "12125 0 3 2 1 20",
        "12126 1 0 2 1 21",
    ];
    parts("scale-out-cancelled", READY, &[12121, 12122, 12123, 12124, 12125, 12126]).await;
}

#[tokio::test]
async fn three_nodes_with_one_thread_type() {
    const PROXIES: &[&str] = &["12121 2 0 -1 0 16", "12122 2 0 -1 0 16", "12123 2 0 -1 0 16"];
    const NAME: &str = "thread-type-must-be-unique";
    parts(NAME, PROXIES, &[12121, 12122]).await;
    let (own, started_with) = (&[4u32][..], Some(PROXIES));
    play(&Scene { own, started_with, ..Scene::new(NAME, 12123) }).await;
}

#[tokio::test]
async fn starts_and_stops() {
    play(&Scene::new("start-up-two-new-nodes", 12121)).await;
    play(&Scene::new("start-up-two-new-nodes", 12122)).await;
    parts("graceful-restart-of-proxy", TWO_BY_TWO, &[12121, 12123, 12124, 12125]).await;
    parts("graceful-shutdown-of-slave-and-remove", TWO_BY_TWO, &[12121, 12122, 12123]).await;
}

#[tokio::test]
async fn a_stop_without_an_index() {
    parts("shutdown-without-flarei", &["12121 2 0 -1 0 16"], &[12121]).await;
}

#[tokio::test]
async fn starts_without_an_index() {
    play(&Scene::new("start-up-without-flarei", 12121)).await;
}

#[tokio::test]
async fn failures_of_others_and_of_itself() {
    parts("failover-master-killed", TWO_BY_TWO, &[12121, 12122, 12123, 12124, 12125]).await;
    parts("slave-killed-and-back", TWO_BY_TWO, &[12121, 12122, 12123, 12124, 12125]).await;
    parts("manual-down-of-healthy-slave", TWO_BY_TWO, &[12121, 12122, 12125]).await;
    parts("restart-before-marked-down", TWO_BY_TWO, &[12121, 12122, 12125]).await;
}

#[tokio::test]
async fn a_master_without_slave() {
    const NAME: &str = "master-without-slave-killed-and-back";
    const LONE: &[&str] =
        &["12121 0 0 0 1 16", "12123 0 0 1 1 18", "12124 1 0 1 1 19", "12125 2 0 -1 0 20"];
    parts(NAME, LONE, &[12121]).await;
    let (own, started_with) = (&[16u32, 17][..], Some(LONE));
    play(&Scene { own, started_with, ..Scene::new(NAME, 12125) }).await;
}

#[tokio::test]
async fn a_hanging_slave() {
    parts("slave-hangs-and-recovers", TWO_BY_TWO, &[12121, 12122, 12125]).await;
}

#[tokio::test]
async fn restarts_of_the_index() {
    parts("flarei-restart-with-old-map", TWO_BY_TWO, &[12122, 12124]).await;
    const NAME: &str = "flarei-restart-with-empty-map";
    let before = &[sync!("30", "12121 0 0 0 1 16", "12122 1 0 0 1 17")];
    for subject in [12121, 12123] {
        let started_with = Some(TWO_BY_TWO);
        play(&Scene { before, started_with, ..Scene::new(NAME, subject) }).await;
    }
}

#[tokio::test]
async fn replication_to_another_cluster() {
    play(&Scene {
        started_with: Some(&["12121 0 0 0 1 16"]),
        keys: 36,
        before: &[sync!("5", "12121 0 0 0 1 16", "12122 1 0 0 1 17")],
        settings: &[("reconstruction-interval", "20000")],
        // then the other cluster's node is killed and comes back
        until: 761,
        ..Scene::new("cluster-replication", 12121)
    })
    .await;
}
