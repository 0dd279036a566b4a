//! A partition whose master is lost: what is shown of the copies that are left, and the choice.

use std::sync::Arc;

use flare_actors::overview::{Overview, RecoverPartition};
use flare_core::model::{NodeKey, Role, State};
use flare_core::stored::{Holding, Lapse, LapseCause, StoredNode};
use flare_core::topology::{Blocked, Facts, Mode, Snapshot};
use serde_json::json;

use super::probe::{Do, Ordered, Probe, get, overview, request};
use super::with_admin;

const WRITE: &str = "X-Flare-Admin: 1";
const JSON: &str = "Content-Type: application/json";

/// `a` is back, and empty; `b` and `c` had its keys, and `c` is down.
fn back_empty() -> Overview {
    let proxy = Role::Proxy;
    let mut overview = overview(&[
        ("a", Role::Master, State::Down, 0, 0),
        ("b", proxy, State::Active, -1, 7),
        ("c", proxy, State::Down, -1, 9),
        ("d", proxy, State::Active, -1, 5),
    ]);
    let mut stored = overview.snapshot.stored().clone();
    let mut held = |name: &str, cause, version| {
        let node: Option<&mut StoredNode> = stored.nodes.get_mut(&NodeKey::new(name, 12121));
        let node = node.expect("it is in the map");
        node.holds = Holding::Partition(0);
        node.lapse = Some(Lapse::new(cause, version));
    };
    held("b", LapseCause::LostRole, 41);
    held("c", LapseCause::Unfinished, 30);
    overview.snapshot = Arc::new(Snapshot::new(Arc::new(stored)));
    overview.facts.insert(NodeKey::new("c", 12121), Facts::default());
    overview.blocked.insert(Blocked::CameBackEmpty {
        partition: 0,
        node: NodeKey::new("a", 12121),
        best: None,
    });
    overview
}

#[test]
fn the_copies_that_are_left_of_a_lost_partition_are_shown_with_the_evidence() {
    with_admin(
        Probe::new(back_empty()),
        |_| (),
        |server, probe| async move {
            let view = get(server, "/api/v1/topology").await.json();
            let left = &view["partitions"][0]["recovery"];
            let whole = "it was a whole copy up to map version 41";
            let begun = "what it holds is not known now; its copy was never complete, and last \
                         made in map version 30";
            let candidates = json!([
                {"node": "b:12121", "items": 7, "complete": true, "keptUntil": 41, "best": false,
                 "sentence": whole},
                {"node": "c:12121", "items": null, "complete": false, "keptUntil": 30,
                 "best": false, "sentence": begun},
            ]);
            assert_eq!(left["candidates"], candidates);
            assert_eq!(left["masterEmpty"], true);
            assert_eq!(left["chosen"], json!(null));
            let asked = view["blocked"][0]["sentence"].as_str().expect("a sentence");
            assert!(asked.contains("flare-operator recover 0 --from NAME:PORT"), "{asked}");

            // It is clear which is the best when all of them are seen, or are known to be empty.
            let see = |probe: &mut Probe| {
                let shown = probe.overview.facts[&NodeKey::new("d", 12121)].clone();
                probe.overview.facts.insert(NodeKey::new("c", 12121), shown);
            };
            probe.send(Do(Box::new(see))).await.unwrap();
            let view = get(server, "/api/v1/topology").await.json();
            let candidates = &view["partitions"][0]["recovery"]["candidates"];
            assert_eq!(
                (&candidates[0]["best"], &candidates[1]["best"]),
                (&json!(true), &json!(false))
            );
            assert_eq!(candidates[1]["items"], 5);

            // By hand a person gives the roles, and nothing is chosen here.
            let by_hand = |probe: &mut Probe| probe.overview.mode = Mode::Manual;
            probe.send(Do(Box::new(by_hand))).await.unwrap();
            let view = get(server, "/api/v1/topology").await.json();
            assert_eq!(view["partitions"][0]["recovery"], json!(null));
        },
    );
}

#[test]
fn a_partition_that_is_served_has_nothing_to_be_chosen() {
    with_admin(
        Probe::new(super::probe::two_by_two()),
        |_| (),
        |server, _| async move {
            let view = get(server, "/api/v1/topology").await.json();
            assert_eq!(view["partitions"][0]["recovery"], json!(null));
        },
    );
}

#[test]
fn a_person_chooses_the_copy_that_a_lost_partition_goes_on_with() {
    with_admin(
        Probe::new(back_empty()),
        |_| (),
        |server, probe| async move {
            let post = async |partition: &str, body| {
                let line = format!("POST /api/v1/partitions/{partition}/recover");
                request(server, &line, &[WRITE, JSON], body).await
            };
            let wish = r#"{"from": "b:12121"}"#;
            assert_eq!(post("0", wish).await.status, 200);
            let refused = post("1", wish).await;
            assert_eq!(refused.status, 409);
            assert!(refused.body.contains("has a master that serves"), "{}", refused.body);
            assert_eq!(post("x", wish).await.status, 400);
            assert_eq!(post("0", "{}").await.status, 400, "nothing is chosen by silence");
            assert_eq!(post("0", r#"{"from": "b"}"#).await.status, 400);
            let line = "POST /api/v1/partitions/0/recover";
            let bare = request(server, line, &[JSON], wish).await;
            assert_eq!(bare.status, 403, "another page must not do it");
            let from = NodeKey::new("b", 12121);
            let recover =
                |partition| Ordered::Recover(RecoverPartition { partition, from: from.clone() });
            let seen = probe.send(Do(Box::new(|probe: &mut Probe| probe.orders.clone()))).await;
            assert_eq!(seen.unwrap(), [recover(0), recover(1)]);
        },
    );
}
