//! Probes, topology, sessions, the page; and who may read.

use std::time::Duration;

use flare_actors::overview::{SessionFacts, Sessions};
use flare_core::model::{NodeKey, Role, State};
use flare_core::topology::Blocked;

use super::probe::{Do, Probe, get, overview, request, two_by_two};
use super::with_admin;

#[test]
fn probes_answer_with_a_word_or_with_the_reason() {
    with_admin(
        Probe::new(two_by_two()),
        |_| (),
        |server, probe| async move {
            for path in ["/healthz", "/readyz", "/leaderz"] {
                assert_eq!(get(server, path).await.status, 200, "{path}");
            }
            let trouble = |probe: &mut Probe| {
                probe.overview.troubles = vec!["the disk is full".into(), "it broke".into()];
            };
            probe.send(Do(Box::new(trouble))).await.unwrap();
            let answer = get(server, "/readyz").await;
            assert_eq!(
                (answer.status, answer.body.as_str()),
                (503, "the disk is full\nit broke\n")
            );
            assert_eq!(get(server, "/healthz").await.status, 200);
        },
    );
}

#[test]
fn a_topology_that_has_ended_is_unhealthy_and_said_so() {
    with_admin(
        Probe::new(two_by_two()),
        |_| (),
        |server, probe| async move {
            probe.send(Do(Box::new(|_: &mut Probe| ()))).await.unwrap();
            super::probe::stop(&probe).await;
            for path in ["/healthz", "/readyz", "/api/v1/topology"] {
                let answer = get(server, path).await;
                assert_eq!(answer.status, 503, "{path}");
                assert!(answer.body.contains("the topology has ended"), "{}", answer.body);
            }
        },
    );
}

#[test]
fn the_topology_is_shown_whole() {
    with_admin(
        Probe::new(two_by_two()),
        |_| (),
        |server, _| async move {
            let view = get(server, "/api/v1/topology").await.json();
            assert_eq!(
                (view["cluster"].as_str(), view["version"].as_u64()),
                (Some("games"), Some(42))
            );
            assert_eq!(
                (view["mode"].as_str(), view["ready"].as_bool()),
                (Some("automatic"), Some(true))
            );
            assert_eq!(view["wanted"]["replicas"], 2);
            assert_eq!(view["hash"]["partitionSize"], 1024);
            let partition = &view["partitions"][1];
            assert_eq!(
                (partition["master"].as_str(), partition["items"].as_u64()),
                (Some("c:12121"), Some(20))
            );
            assert_eq!(partition["slaves"][0], "d:12121");
            assert_eq!(
                (partition["served"].as_bool(), partition["activeCopies"].as_u64()),
                (Some(true), Some(1))
            );
            let node = &view["nodes"][3];
            assert_eq!(
                (node["key"].as_str(), node["role"].as_str()),
                (Some("d:12121"), Some("slave"))
            );
            assert_eq!(
                (node["state"].as_str(), node["copying"].as_bool()),
                (Some("prepare"), Some(true))
            );
            assert_eq!(
                (node["acknowledged"].as_u64(), node["threadType"].as_u64()),
                (Some(42), Some(19))
            );
            assert_eq!(view["reduction"], serde_json::Value::Null);
        },
    );
}

#[test]
fn a_partition_whose_master_is_down_is_not_served() {
    let nodes = [("a", Role::Master, State::Down, 0, 7), ("b", Role::Proxy, State::Active, -1, 0)];
    with_admin(
        Probe::new(overview(&nodes)),
        |_| (),
        |server, probe| async move {
            let block = |probe: &mut Probe| {
                probe.overview.blocked.insert(Blocked::MasterDown { partition: 0 });
            };
            probe.send(Do(Box::new(block))).await.unwrap();
            let view = get(server, "/api/v1/topology").await.json();
            assert_eq!(view["partitions"][0]["served"], false);
            assert_eq!(view["nodes"][1]["partition"], serde_json::Value::Null);
            assert_eq!(view["blocked"][0]["kind"], "master_down");
            let sentence = view["blocked"][0]["sentence"].as_str().unwrap();
            assert!(sentence.starts_with("Partition 0 has no master"), "{sentence}");
        },
    );
}

#[test]
fn a_refused_reduction_tells_what_would_be_lost_and_the_five_steps() {
    with_admin(
        Probe::new(two_by_two()),
        |_| (),
        |server, probe| async move {
            let block = |probe: &mut Probe| {
                probe.overview.blocked.insert(Blocked::PartitionReduction { have: 2, wanted: 1 });
            };
            probe.send(Do(Box::new(block))).await.unwrap();
            let view = get(server, "/api/v1/topology").await.json();
            let reduction = &view["reduction"];
            assert_eq!(reduction["lost"][0]["partition"], 1);
            assert_eq!(reduction["lost"][0]["items"], 20);
            assert_eq!(reduction["lost"][0]["nodes"], serde_json::json!(["c:12121", "d:12121"]));
            assert_eq!(reduction["lost"].as_array().unwrap().len(), 1);
            assert_eq!(reduction["steps"].as_array().unwrap().len(), 5);
        },
    );
}

#[test]
fn sessions_are_counted_and_some_of_them_shown() {
    let mut probe = Probe::new(two_by_two());
    let session = |id| SessionFacts {
        id,
        peer: ([10, 0, 0, 7], 4000).into(),
        node: Some(NodeKey::new("a", 12121)),
        open_for: Duration::from_secs(2),
        idle_for: Duration::from_millis(5),
        requests: 3,
    };
    probe.sessions = Sessions { open: 900, limit: 1000, shown: (1..900).map(session).collect() };
    with_admin(
        probe,
        |_| (),
        |server, _| async move {
            let view = get(server, "/api/v1/sessions").await.json();
            assert_eq!(
                (view["open"].as_u64(), view["sessions"].as_array().unwrap().len()),
                (Some(900), 200)
            );
            let view = get(server, "/api/v1/sessions?limit=1").await.json();
            let expected = serde_json::json!([{
                "id": 1, "peer": "10.0.0.7:4000", "node": "a:12121", "openMillis": 2000,
                "idleMillis": 5, "requests": 3, "wire": false,
            }]);
            assert_eq!(view["sessions"], expected);
            assert_eq!(view["limit"], 1000);
            let refused = get(server, "/api/v1/sessions?limit=all").await;
            assert_eq!(refused.status, 400);
            assert_eq!(refused.json()["error"], "limit must be a number; at most 10000 are shown");
        },
    );
}

#[test]
fn the_page_is_whole_and_may_load_nothing_from_elsewhere() {
    with_admin(
        Probe::new(two_by_two()),
        |_| (),
        |server, _| async move {
            let page = get(server, "/").await;
            assert_eq!(page.status, 200);
            assert!(
                page.head.contains("content-security-policy: default-src 'none';"),
                "{}",
                page.head
            );
            assert!(page.head.contains("x-content-type-options: nosniff"), "{}", page.head);
            // Every part that the page or one of its parts names is there, and names nothing else.
            let mut found = std::collections::BTreeSet::from(["/".to_owned()]);
            let mut to_read = vec!["/".to_owned()];
            while let Some(part) = to_read.pop() {
                let answer = get(server, &part).await;
                assert_eq!(answer.status, 200, "{part}");
                let text = answer.body.replace("http://www.w3.org/2000/svg", "");
                assert!(!text.contains("://"), "{part} names another place");
                let named = text.split(['"', '\'']).filter(|piece| {
                    piece.starts_with('/')
                        && [".js", ".css", ".svg"].iter().any(|end| piece.ends_with(end))
                });
                to_read
                    .extend(named.map(str::to_owned).filter(|piece| found.insert(piece.clone())));
            }
            assert_eq!(found.len(), 11, "{found:?}");
        },
    );
}

#[test]
fn a_name_that_was_pointed_at_this_machine_may_not_read() {
    with_admin(
        Probe::new(two_by_two()),
        |_| (),
        |server, _| async move {
            for host in ["Host: evil.example", "Host: evil.example:8080", "Host: localhost.evil"] {
                for path in ["GET /api/v1/topology", "GET /", "GET /api/v1/events"] {
                    let answer = request(server, path, &[host], "").await;
                    assert_eq!(answer.status, 403, "{host} {path}");
                }
                assert_eq!(request(server, "GET /readyz", &[host], "").await.status, 200);
            }
            for host in
                ["Host: localhost:1", "Host: LOCALHOST", "Host: 127.0.0.1", "Host: [::1]:80"]
            {
                let answer = request(server, "GET /api/v1/topology", &[host], "").await;
                assert_eq!(answer.status, 200, "{host}");
            }
        },
    );
}

#[test]
fn what_is_not_there_is_a_sentence() {
    with_admin(
        Probe::new(two_by_two()),
        |_| (),
        |server, _| async move {
            let answer = get(server, "/api/v1/topologi").await;
            assert_eq!(answer.status, 404);
            assert_eq!(answer.json()["error"], "there is no GET /api/v1/topologi here");
            assert_eq!(get(server, "/api/v1/sandbox").await.status, 404);
            assert_eq!(get(server, "/api/v1/log").await.status, 404);
        },
    );
}

#[test]
fn the_circuit_breaker_is_told_with_its_count_and_its_thresholds() {
    with_admin(
        Probe::new(two_by_two()),
        |_| (),
        |server, _| async move {
            let told = get(server, "/api/v1/breaker").await.json();
            assert_eq!(told["state"], "open");
            assert_eq!((&told["assigned"], &told["dead"]), (&6.into(), &3.into()));
            assert_eq!(told["unheard"], 1);
            assert_eq!(told["settings"]["tripThresholdPercent"], 50);
            assert_eq!(told["settings"]["resetThresholdPercent"], 80);
            assert_eq!(told["settings"]["minDeadNodes"], 2);
            assert_eq!(told["settings"]["autoResetEnabled"], true);
        },
    );
}
