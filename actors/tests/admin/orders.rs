//! What a person may order: forget a node, change the log, and, in the sandbox, break things.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use actix::AsyncContext;
use flare_actors::logs::{self, LogFormat};
use flare_actors::overview::SwitchMaster;
use flare_actors::topology::PrepareToLeave;
use flare_core::model::{NodeKey, Role, State};
use flare_core::topology::{HandoverHow, HandoverWay, Origin};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;

use super::probe::{Do, Ordered, Probe, Response, get, overview, request};
use super::with_admin;

const WRITE: &str = "X-Flare-Admin: 1";
const JSON: &str = "Content-Type: application/json";

fn one_down() -> Probe {
    Probe::new(overview(&[
        ("a", Role::Master, State::Active, 0, 1),
        ("b", Role::Proxy, State::Down, -1, 0),
    ]))
}

#[test]
fn a_node_that_is_down_can_be_forgotten_and_no_other() {
    with_admin(
        one_down(),
        |_| (),
        |server, probe| async move {
            let delete = async |node| {
                request(server, &format!("DELETE /api/v1/nodes/{node}"), &[WRITE], "").await
            };
            let forgotten = delete("b:12121").await;
            assert_eq!(
                (forgotten.status, forgotten.body.as_str()),
                (200, r#"{"forgotten":"b:12121"}"#)
            );
            let living = delete("a:12121").await;
            assert_eq!(living.status, 409);
            assert!(
                living.body.contains("only a node that is down can be forgotten"),
                "{}",
                living.body
            );
            assert_eq!(delete("z:1").await.status, 404);
            assert_eq!(delete("nonsense").await.status, 400);
            assert_eq!(delete("b%0d%0a:12121").await.status, 400);
            let seen = probe.send(Do(Box::new(|probe: &mut Probe| probe.forgotten.len()))).await;
            assert_eq!(seen.unwrap(), 1);
        },
    );
}

#[test]
fn a_master_is_swapped_and_the_breaker_closed() {
    with_admin(
        one_down(),
        |_| (),
        |server, probe| async move {
            let post = async |path: &str, body| {
                request(server, &format!("POST /api/v1/{path}"), &[WRITE, JSON], body).await
            };
            assert_eq!(post("partitions/0/switchover", "{}").await.status, 200);
            let wish = r#"{"to": "b:12121", "pause": true, "endClients": true}"#;
            assert_eq!(post("partitions/0/switchover", wish).await.status, 200);
            let refused = post("partitions/1/switchover", "{}").await;
            assert_eq!(refused.status, 409);
            assert!(refused.body.contains("no active slave could take over"), "{}", refused.body);
            assert_eq!(post("partitions/x/switchover", "{}").await.status, 400);
            assert_eq!(post("partitions/0/switchover", r#"{"to": 1}"#).await.status, 400);
            assert_eq!(post("breaker/reset", "").await.status, 200);
            let bare = request(server, "POST /api/v1/breaker/reset", &[JSON], "").await;
            assert_eq!(bare.status, 403, "another page must not do it");
            let switch = |partition, to: Option<&str>, way, end_clients| {
                let to = to.and_then(NodeKey::parse);
                let how = HandoverHow { way, end_clients };
                Ordered::Switch(SwitchMaster { partition, to, how })
            };
            let wanted = [
                switch(0, None, HandoverWay::Park, false),
                switch(0, Some("b:12121"), HandoverWay::Pause, true),
                switch(1, None, HandoverWay::Park, false),
                Ordered::ResetBreaker,
            ];
            let seen = probe.send(Do(Box::new(|probe: &mut Probe| probe.orders.clone()))).await;
            assert_eq!(seen.unwrap(), wanted);
        },
    );
}

#[test]
fn a_node_leaves_or_stays_and_its_person_is_told_when_it_may_be_stopped() {
    with_admin(
        one_down(),
        |_| (),
        |server, probe| async move {
            let post = async |node: &str, body| {
                let line = format!("POST /api/v1/nodes/{node}/leave");
                request(server, &line, &[WRITE, JSON], body).await
            };
            let leaves = post("a:12121", "{}").await;
            assert_eq!((leaves.status, leaves.body.as_str()), (200, r#"{"mayStop":"a:12121"}"#));
            let stays = post("a:12121", r#"{"cancel": true}"#).await;
            assert_eq!((stays.status, stays.body.as_str()), (200, r#"{"stays":"a:12121"}"#));
            let refused = post("z:1", "{}").await;
            assert_eq!(refused.status, 409);
            assert!(refused.body.contains("do not stop it"), "{}", refused.body);
            assert_eq!(post("nonsense", "{}").await.status, 400);
            assert_eq!(post("a:12121", r#"{"canel": true}"#).await.status, 400);
            let order = |node: &str, leaves| {
                let node = NodeKey::parse(node).expect("a key");
                Ordered::Leave(PrepareToLeave { node, leaves, origin: Origin::Admin })
            };
            let wanted = [order("a:12121", true), order("a:12121", false), order("z:1", true)];
            let seen = probe.send(Do(Box::new(|probe: &mut Probe| probe.orders.clone()))).await;
            assert_eq!(seen.unwrap(), wanted);
        },
    );
}

#[test]
fn changes_are_refused_to_other_pages_and_through_proxies() {
    with_admin(
        one_down(),
        |_| (),
        |server, probe| async move {
            let line = "DELETE /api/v1/nodes/b:12121";
            let cases: [(&[&str], &str); 6] = [
                (&[], "must carry the header x-flare-admin"),
                (&[WRITE, "Host: evil.example"], "Host header must be an IP address"),
                (&[WRITE, "Origin: http://evil.example"], "from another web page"),
                (&[WRITE, "Origin: null"], "from another web page"),
                (&[WRITE, "Sec-Fetch-Site: cross-site"], "from another web page"),
                (&[WRITE, "X-Forwarded-For: 10.1.2.3"], "through a proxy"),
            ];
            for (headers, reason) in cases {
                let answer = request(server, line, headers, "").await;
                assert_eq!(answer.status, 403, "{headers:?}");
                assert!(answer.body.contains(reason), "{headers:?}: {}", answer.body);
            }
            let ours = format!("Origin: http://{server}");
            let headers = [WRITE, &ours, "Sec-Fetch-Site: same-origin"];
            assert_eq!(request(server, line, &headers, "").await.status, 200);
            let seen = probe.send(Do(Box::new(|probe: &mut Probe| probe.forgotten.len()))).await;
            assert_eq!(seen.unwrap(), 1);
        },
    );
}

#[test]
fn the_log_is_changed_while_it_runs() {
    let (_subscriber, control) =
        logs::subscriber(LogFormat::Text, "info", false, std::io::sink).unwrap();
    let log = control.clone();
    with_admin(
        one_down(),
        |options| options.log = Some(log),
        |server, _| async move {
            let put = async |body| request(server, "PUT /api/v1/log", &[WRITE, JSON], body).await;
            assert_eq!(get(server, "/api/v1/log").await.json()["filter"], "info");
            assert_eq!(put(r#"{"filter":"debug"}"#).await.json()["filter"], "debug");
            let answer = put(r#"{"connection":7,"wire":true}"#).await;
            assert_eq!(answer.json()["wire"], serde_json::json!([7]));
            assert_eq!(control.status().wire, BTreeSet::from([7]));
            assert!(put(r#"{"filter":"loud=loud"}"#).await.body.contains("cannot be read"));
            for bad in ["", "{}", r#"{"connection":"7","wire":true}"#, r#"{"filter":1}"#] {
                let answer = put(bad).await;
                assert_eq!(answer.status, 400, "{bad}");
                assert!(answer.body.contains("such as"), "{}", answer.body);
            }
            assert_eq!(put(&"x".repeat(20_000)).await.status, 400);
            let foreign = request(server, "PUT /api/v1/log", &[JSON], r#"{"filter":"off"}"#).await;
            assert_eq!((foreign.status, control.status().filter.as_str()), (403, "debug"));
        },
    );
}

/// A sandbox that answers one order with this line, and tells which order it was.
async fn sandbox(answer: &'static str) -> (SocketAddr, tokio::task::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let order = tokio::task::spawn_local(async move {
        let (mut stream, _) = listener.accept().await.expect("the server connects");
        let (read, mut write) = stream.split();
        let mut line = String::new();
        BufReader::new(read).read_line(&mut line).await.expect("an order comes");
        write.write_all(answer.as_bytes()).await.expect("the server reads");
        line
    });
    (address, order)
}

/// One request to an index in a sandbox: the answer, and the order that reached the sandbox.
fn in_sandbox(
    answer: &'static str,
    line: &'static str,
    body: &'static str,
    test: impl FnOnce(Response, String),
) {
    super::on_one_thread(async move {
        let (control, order) = sandbox(answer).await;
        let (_probe, sources) = one_down().start_as_sources();
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let options = flare_actors::admin::Options {
            listen,
            sources,
            log: None,
            manifest: None,
            sandbox: Some(control),
        };
        let running = flare_actors::admin::start(options).expect("a free port can be listened on");
        let (address, handle) = (running.address, running.handle());
        let server = tokio::task::spawn_local(running.server);
        let response = request(address, line, &[WRITE, JSON], body).await;
        test(response, order.await.expect("the sandbox was asked"));
        handle.stop(true).await;
        server.await.expect("the server does not panic").expect("it stops in order");
    });
}

#[test]
fn orders_reach_the_sandbox_as_lines_and_its_answers_come_back() {
    let nodes = "{\"nodes\":[{\"key\":\"b:12121\",\"process\":\"dead\"}]}\n";
    let body = r#"{"node":"b:12121"}"#;
    let cases = [
        ("GET /api/v1/sandbox", "", "nodes\n"),
        ("POST /api/v1/sandbox/kill", body, "kill b:12121\n"),
        ("POST /api/v1/sandbox/freeze", body, "freeze b:12121\n"),
        ("POST /api/v1/sandbox/revive", body, "revive b:12121\n"),
        ("POST /api/v1/sandbox/add", "", "add\n"),
    ];
    for (line, body, expected) in cases {
        in_sandbox(nodes, line, body, |response, order| {
            assert_eq!((response.status, order.as_str()), (200, expected));
            assert_eq!(response.json()["nodes"][0]["process"], "dead");
        });
    }
}

#[test]
fn what_the_sandbox_cannot_do_is_a_sentence() {
    let body = r#"{"node":"b:12121"}"#;
    let cases = [
        ("{\"error\":\"b:12121 is not one of mine\"}\n", "b:12121 is not one of mine"),
        ("", "closed the connection before its answer ended"),
        ("good\n", "not JSON"),
    ];
    for (answer, sentence) in cases {
        in_sandbox(answer, "POST /api/v1/sandbox/kill", body, |response, _| {
            assert_eq!(response.status, 409);
            assert!(response.body.contains(sentence), "{}", response.body);
        });
    }
}

#[test]
fn an_order_that_is_not_answered_may_have_been_done_and_that_is_said() {
    // Its mailbox takes messages, and nobody reads them.
    let stuck = actix::Context::<Probe>::new();
    with_admin(
        one_down(),
        |options| options.sources.forget = stuck.address().recipient(),
        |server, _| async move {
            let line = "DELETE /api/v1/nodes/a:12121";
            let answer = request(server, line, &[WRITE], "").await;
            assert_eq!(answer.status, 504, "{}", answer.body);
            let said = "did not answer within 2 s: it is not known whether the order was done";
            assert!(answer.body.contains(said), "{}", answer.body);
        },
    );
}
