//! `/metrics`, as Prometheus' own tool judges it.

use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use flare_actors::metrics::{self, ClusterMetrics, Exporter, Miss};
use flare_actors::{admin, kind};
use flare_core::model::Role;
use flare_core::stored::{Lapse, LapseCause};
use flare_core::topology::{Blocked, DownReason, Event, Refusal, Snapshot, StoreFailure};

use super::probe::{Do, Probe, get, two_by_two};

/// design.md 5 fixes this name, though Prometheus would keep `_total` for counters.
const ACCEPTED_COMPLAINT: &str =
    "flare_operator_nodes_total non-counter metrics should not have \"_total\" suffix";

fn move_everything(metrics: &ClusterMetrics) {
    let took = Duration::from_millis(3);
    metrics.reconciled(took);
    metrics.broadcast();
    metrics.push_acknowledged(took);
    metrics.push_failed(Miss::Timeout);
    metrics.ping_answered(took);
    metrics.ping_missed(Miss::Refused);
    metrics.node_died(DownReason::Refused);
    metrics.stored(took);
    metrics.store_failed(&StoreFailure::Conflict);
    metrics.refused(&Refusal::NotAllowed);
    metrics.connection_accepted();
    metrics.connection_refused("connections_max");
    metrics.requested("ping");
    metrics.happened(&Event::Warned { what: String::new() });
    metrics.manifest_read(false);
}

/// What `promtool check metrics` complains about, line by line.
fn complaints(text: &str) -> Vec<String> {
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool must be installed: apt-get install prometheus");
    let mut stdin = promtool.stdin.take().expect("it was asked for");
    std::io::Write::write_all(&mut stdin, text.as_bytes()).expect("promtool reads");
    drop(stdin);
    let output = promtool.wait_with_output().expect("promtool ends");
    let said = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&said).lines().map(str::to_owned).collect()
}

#[test]
fn promtool_reads_the_metrics_and_finds_every_one() {
    let exporter = Exporter::install().expect("only this test of the program installs it");
    move_everything(&ClusterMetrics::new(Arc::from("games")));
    ::metrics::counter!(metrics::EVENT_READERS_DROPPED).increment(1);
    super::on_one_thread(async move {
        let (probe, sources) = Probe::new(two_by_two()).start_as_sources();
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let running = admin::start_metrics(listen, exporter, sources, None).unwrap();
        let (address, handle) = (running.address, running.handle());
        let server = tokio::task::spawn_local(running.server);

        let answer = get(address, "/metrics").await;
        assert!(answer.head.contains("content-type: text/plain; version=0.0.4"), "{}", answer.head);
        assert_eq!(complaints(&answer.body), [ACCEPTED_COMPLAINT]);
        shows_every_metric(&answer.body);
        shows_what_the_probe_told(&answer.body);

        let block = |probe: &mut Probe| {
            let mut stored = probe.overview.snapshot.stored().clone();
            for (node, version) in stored.nodes.values_mut().zip(1..) {
                node.lapse = Some(Lapse::new(LapseCause::Silent, version));
                if version == 4 {
                    // What a node without a role holds is no copy that anybody reads.
                    node.entry.role = Role::Proxy;
                }
            }
            probe.overview.snapshot = Arc::new(Snapshot::new(Arc::new(stored)));
            probe.overview.blocked.insert(Blocked::MasterDown { partition: 0 });
            probe.overview.store_waits = Duration::from_secs(7);
            probe.overview.troubles.push("it broke".into());
        };
        probe.send(Do(Box::new(block))).await.unwrap();
        let body = get(address, "/metrics").await.body;
        let line = "flare_operator_blocked{cluster=\"games\",kind=\"master_down\"} 1";
        assert!(body.contains(line) && body.contains("flare_operator_ready 0"), "{body}");

        let line = "flare_operator_lapsed_copies{cluster=\"games\"} 3";
        assert!(body.contains(line), "{body}");

        let line = "flare_operator_store_waiting_seconds{cluster=\"games\"} 7";
        assert!(body.contains(line), "{body}");

        // When nobody answers, what is known is still told.
        super::probe::stop(&probe).await;
        let body = get(address, "/metrics").await.body;
        assert!(body.contains("flare_operator_ready 0"), "{body}");
        assert!(body.contains("flare_operator_pings_missed_total{"), "{body}");
        handle.stop(true).await;
        server.await.unwrap().unwrap();
    });
}

fn shows_every_metric(body: &str) {
    let names = metrics::COUNTERS
        .iter()
        .chain(&metrics::GAUGES)
        .chain(&metrics::HISTOGRAMS)
        // It is there only with a manifest.
        .filter(|(name, _)| *name != metrics::MANIFEST_IN_FORCE);
    for (name, description) in names {
        assert!(body.contains(&format!("# HELP {name} {description}")), "{name} in\n{body}");
        assert!(body.lines().any(|line| line.starts_with(name)), "{name} has no value");
    }
    for kind in kind::BLOCKED_KINDS {
        let line = format!("flare_operator_blocked{{cluster=\"games\",kind=\"{kind}\"}} 0");
        assert!(body.contains(&line), "{kind}");
    }
}

fn shows_what_the_probe_told(body: &str) {
    for line in [
        "flare_operator_node_map_version{cluster=\"games\"} 42",
        "flare_operator_nodes_total{cluster=\"games\",role=\"slave\",state=\"prepare\"} 1",
        "flare_operator_nodes_total{cluster=\"games\",role=\"master\",state=\"down\"} 0",
        "flare_operator_node_acknowledged_version{cluster=\"games\",node=\"c:12121\"} 42",
        "flare_operator_node_items{cluster=\"games\",node=\"c:12121\"} 20",
        "flare_operator_dead_nodes_detected_total{cluster=\"games\",kind=\"refused\"} 1",
        "flare_operator_refusals_total{cluster=\"games\",kind=\"not_allowed\"} 1",
        "flare_operator_lapsed_copies{cluster=\"games\"} 0",
        "flare_operator_partitions{cluster=\"games\"} 2",
        "flare_operator_ready 1",
    ] {
        assert!(body.contains(line), "{line} in\n{body}");
    }
}
