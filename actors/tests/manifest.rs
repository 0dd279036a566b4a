//! The manifest: what is read from a good one, and the sentences for bad ones.

use std::time::Duration;

use flare_actors::manifest::{Manifest, ReplicationMode};
use flare_core::model::{HashAlgorithm, HashSettings, NodeKey};
use flare_core::wanted::Wanted;
use flare_core::zones::Zone;

/// A manifest with this spec, indented by two blanks.
fn with_spec(spec: &str) -> String {
    format!("apiVersion: flare.gree.net/v1alpha1\nkind: FlareCluster\nspec:\n{spec}")
}

fn problems(text: &str) -> String {
    Manifest::parse(text).expect_err("must be refused").to_string()
}

#[test]
fn a_short_manifest_gets_the_defaults_of_the_design() {
    let manifest = Manifest::parse(&with_spec("  partitions: 2\n  replicas: 3\n")).unwrap();
    assert_eq!(manifest.name, "default");
    assert_eq!(
        manifest.wanted,
        Wanted { partitions: 2, replicas: 3, paused: false, promote_lapsed: true }
    );
    assert_eq!(manifest.hash.for_new_cluster(), HashSettings::default());
    assert_eq!(manifest.monitor.interval, Duration::from_secs(1));
    assert_eq!(manifest.monitor.read_timeout, Duration::from_secs(1));
    assert_eq!(manifest.monitor.threshold, 3);
    assert_eq!(manifest.monitor.lapse, Duration::from_secs(18));
    assert_eq!(manifest.startup_grace, Duration::from_secs(30));
    let breaker = manifest.circuit_breaker;
    assert!(breaker.enabled && breaker.auto_reset_enabled);
    assert_eq!((breaker.trip_threshold_percent, breaker.reset_threshold_percent), (50, 80));
    assert_eq!(breaker.min_dead_nodes, 2);
    assert!(!manifest.cluster_replication.enabled);
}

#[test]
fn a_whole_manifest_as_kubernetes_has_it_is_read() {
    let text = r#"
apiVersion: flare.gree.net/v1alpha1
kind: FlareCluster
metadata:
  name: sessions
  namespace: games
  labels: {team: platform}
  resourceVersion: "12"
spec:
  partitions: 4
  replicas: 2
  hash: {algorithm: crc32, partitionSize: 2048, modularHint: 4, modularVirtual: 8192}
  monitor: {intervalMillis: 500, readTimeoutMillis: 250, threshold: 4, lapseMillis: 8000}
  startupGraceSeconds: 0
  circuitBreaker:
    enabled: false
    tripThresholdPercent: 30
    resetThresholdPercent: 75
    autoResetEnabled: false
    minDeadNodes: 1
  clusterReplication:
    {enabled: true, serverName: new.example.net, port: 12122, mode: forward, concurrency: 3}
  nodes:
    managed: true
    image: registry.example.net/flared:1.3.4
    port: 12121
    storage: {type: persistent, size: 10Gi, storageClassName: fast}
    resources: {limits: {memory: 1Gi}}
    tolerations: [{key: dedicated, operator: Exists}]
    podAnnotations: {a: b}
    extraConfig: {thread-pool-size: 16}
  paused: true
  promoteLapsed: false
status:
  phase: Running
"#;
    let manifest = Manifest::parse(text).unwrap();
    assert_eq!(manifest.name, "sessions");
    assert_eq!(
        manifest.wanted,
        Wanted { partitions: 4, replicas: 2, paused: true, promote_lapsed: false }
    );
    let hash = manifest.hash.for_new_cluster();
    assert_eq!(hash.algorithm, HashAlgorithm::Crc32);
    assert_eq!((hash.partition_size, hash.modular_hint, hash.modular_virtual), (2048, 4, 8192));
    assert_eq!(manifest.monitor.interval, Duration::from_millis(500));
    assert_eq!(manifest.monitor.lapse, Duration::from_secs(8));
    assert_eq!(manifest.startup_grace, Duration::ZERO);
    assert_eq!(manifest.circuit_breaker.trip_threshold_percent, 30);
    assert_eq!(manifest.cluster_replication.mode, ReplicationMode::Forward);
    assert_eq!(manifest.cluster_replication.port, 12122);
}

#[test]
fn a_misspelt_field_is_named_with_its_line() {
    let text =
        problems(&with_spec("  partitions: 2\n  replicas: 2\n  monitor:\n    treshold: 3\n"));
    assert!(text.starts_with("line 7: "), "{text}");
    assert!(text.contains("treshold") && text.contains("threshold"), "{text}");
}

#[test]
fn a_missing_field_is_named() {
    let text = problems(&with_spec("  replicas: 2\n"));
    assert!(text.contains("partitions"), "{text}");
}

#[test]
fn numbers_out_of_range_are_all_told_at_once_with_lines_and_ranges() {
    let text = problems(&with_spec(
        "  partitions: 0\n  replicas: 65\n  startupGraceSeconds: -1\n  monitor:\n    \
         intervalMillis: 5\n    threshold: 0\n  hash: {modularHint: 0}\n  nodes: {port: 65536}\n",
    ));
    let sentences = [
        "line 4: spec.partitions is 0: it must be at least 1",
        "line 5: spec.replicas is 65: it must be 1 to 64 (the master is one of them)",
        "line 6: spec.startupGraceSeconds is -1: it must be 0 to 3600",
        "line 8: spec.monitor.intervalMillis is 5: it must be 10 to 600000",
        "line 9: spec.monitor.threshold is 0: it must be 1 to 1000",
        "line 10: spec.hash.modularHint is 0: it must be 1 to 1023",
        "line 11: spec.nodes.port is 65536: it must be 1 to 65535",
    ];
    assert_eq!(text, sentences.join("; "));
}

#[test]
fn partitions_must_stay_below_partition_size() {
    let spec = |partitions| {
        with_spec(&format!(
            "  partitions: {partitions}\n  replicas: 1\n  hash: {{partitionSize: 8}}\n"
        ))
    };
    assert!(Manifest::parse(&spec(7)).is_ok());
    assert_eq!(
        problems(&spec(8)),
        "line 4: spec.partitions is 8: it must be below spec.hash.partitionSize (8), so at most 7"
    );
}

#[test]
fn breaker_thresholds_must_leave_a_gap() {
    let spec = |trip, reset| {
        with_spec(&format!(
            "  partitions: 1\n  replicas: 2\n  circuitBreaker: {{tripThresholdPercent: {trip}, \
             resetThresholdPercent: {reset}}}\n"
        ))
    };
    for (trip, reset) in [(50, 80), (30, 75), (100, 1), (50, 51)] {
        assert!(Manifest::parse(&spec(trip, reset)).is_ok(), "{trip}/{reset}");
    }
    for (trip, reset) in [(50, 50), (30, 70), (1, 99)] {
        let text = problems(&spec(trip, reset));
        let expected = format!("resetThresholdPercent must be more than {}", 100 - trip);
        assert!(text.starts_with("line 6: ") && text.contains(&expected), "{text}");
    }
    // One of the two alone is held against the other's default.
    let text = problems(&with_spec(
        "  partitions: 1\n  replicas: 2\n  circuitBreaker:\n    \
                             tripThresholdPercent: 20\n",
    ));
    assert!(text.contains("must be more than 80") && text.contains("is 80"), "{text}");
}

#[test]
fn words_that_are_not_among_the_choices_are_refused_with_the_choices() {
    let text = problems(&with_spec(
        "  partitions: 1\n  replicas: 2\n  hash: {algorithm: murmur}\n  clusterReplication:\n    \
         {enabled: true, mode: copy, serverName: \"a b\"}\n  nodes: {storage: {type: disk}}\n",
    ));
    for part in [
        "spec.hash.algorithm is `murmur`: it must be simple, crc32 or jenkins",
        "spec.clusterReplication.mode is `copy`: it must be duplicate or forward",
        "spec.clusterReplication.serverName is `a b`",
        "spec.nodes.storage.type is `disk`: it must be persistent or memory",
    ] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn replication_without_a_destination_is_refused() {
    let text = problems(&with_spec(
        "  partitions: 1\n  replicas: 2\n  clusterReplication: {enabled: true}\n",
    ));
    assert!(text.contains("serverName is empty"), "{text}");
}

#[test]
fn what_is_no_flare_cluster_is_refused() {
    let text = problems("apiVersion: v1\nkind: Pod\nspec: {partitions: 1, replicas: 1}\n");
    assert!(text.contains("line 1: apiVersion is v1, not flare.gree.net/v1alpha1"), "{text}");
    assert!(text.contains("line 2: kind is Pod, not FlareCluster"), "{text}");
    for text in ["", "  \n\n", "# nothing\n", "just words", "[1, 2]", "\u{0}", "a: &a [*a]"] {
        assert!(!problems(text).is_empty());
    }
    assert!(problems("").contains("the manifest is empty"));
}

#[test]
fn what_is_no_yaml_is_refused_with_its_line() {
    let text = problems("apiVersion: flare.gree.net/v1alpha1\nkind: [FlareCluster\nspec:\n");
    assert!(text.starts_with("line "), "{text}");
    let text = problems(&with_spec("  partitions: two\n  replicas: 1\n"));
    assert_eq!(text, "line 4: a whole number is needed, in `partitions: two`");
    let text = problems(&with_spec("  partitions: 1\n  partitions: 2\n  replicas: 1\n"));
    assert!(text.starts_with("line 5: ") && text.contains("partitions"), "{text}");
}

#[test]
fn names_that_no_service_could_have_are_refused() {
    for name in ["Sessions", "a_b", "-a", "a-", "\"\"", "a.b"] {
        let text = format!(
            "apiVersion: flare.gree.net/v1alpha1\nkind: FlareCluster\nmetadata: {{name: {name}}}\n\
             spec: {{partitions: 1, replicas: 1}}\n"
        );
        assert!(problems(&text).starts_with("line 3: metadata.name is `"), "{name}");
    }
}

#[test]
fn hash_settings_are_fixed_for_the_life_of_a_cluster() {
    let stored = HashSettings { modular_hint: 4, ..HashSettings::default() };
    let manifest = |hash: &str| {
        Manifest::parse(&with_spec(&format!(
            "  partitions: 1\n  replicas: 1\n  hash: {{{hash}}}\n"
        )))
        .unwrap()
    };
    // What is not named agrees with anything; what is named must be the same.
    assert_eq!(manifest("").hash.check_against(&stored), Ok(()));
    assert_eq!(manifest("modularHint: 4").hash.check_against(&stored), Ok(()));
    let refused = manifest("algorithm: jenkins, partitionSize: 1024, modularHint: 1")
        .hash
        .check_against(&stored)
        .expect_err("must be refused")
        .to_string();
    assert!(
        refused.contains("spec.hash.algorithm is jenkins, but this cluster was made with simple")
    );
    assert!(refused.contains("spec.hash.modularHint is 1, but this cluster was made with 4"));
    assert!(!refused.contains("partitionSize"), "{refused}");
}

#[test]
fn zones_name_hosts_and_nodes() {
    let zones = "rack-1: [10.0.0.1, h:2]\n      rack-2: [10.0.0.2:12121]\n      rack-3: []\n";
    let text = &format!("  partitions: 1\n  replicas: 2\n  nodes:\n    zones:\n      {zones}");
    let zones = Manifest::parse(&with_spec(text)).unwrap().zones;
    let of = |host, port| zones.of(&NodeKey::new(host, port)).map(Zone::name);
    assert_eq!([of("10.0.0.1", 1), of("10.0.0.1", 2)], [Some("rack-1"), Some("rack-1")]);
    assert_eq!([of("h", 1), of("h", 2)], [None, Some("rack-1")]);
    assert_eq!(of("10.0.0.2", 12121), Some("rack-2"));
    assert_eq!(of("elsewhere", 1), None);
}

#[test]
fn zones_that_cannot_be_are_refused_in_words() {
    let said = |zones: &str| {
        let spec = format!("  partitions: 1\n  replicas: 2\n  nodes: {{zones: {zones}}}\n");
        problems(&with_spec(&spec))
    };
    assert_eq!(
        said("{rack-1: [a], rack-2: [a:1, a:2]}"),
        "line 6: spec.nodes.zones contradicts itself: a:1 lies in rack-2, but a was said to lie in \
         rack-1; line 6: spec.nodes.zones contradicts itself: a:2 lies in rack-2, but a was said \
         to lie in rack-1"
    );
    assert!(said("{one: [a:1], two: [a:1]}").contains("a:1 lies in two, but a:1 was said to lie"));
    let node = "spec.nodes.zones has `a:b` in one: it must be a node, such as 10.0.0.7:12121, or a \
                host with all its nodes, such as 10.0.0.7";
    assert!(said("{one: [\"a:b\"]}").contains(node), "{}", said("{one: [\"a:b\"]}"));
    for wrong in ["a:0", "a:65536", "a:", ":1", "a b", "a:1:1", ""] {
        assert!(said(&format!("{{one: [{wrong:?}]}}")).contains("it must be a node"), "{wrong}");
    }
    let long = "z".repeat(64);
    for wrong in ["\"\"", "\"a b\"", long.as_str()] {
        let said = said(&format!("{{{wrong}: [a]}}"));
        assert!(said.contains("its name must have 1 to 63 bytes, without blanks"), "{said}");
    }
    let many: Vec<String> = (0..257).map(|zone| format!("z{zone}: []")).collect();
    let said_of_many = said(&format!("{{{}}}", many.join(", ")));
    assert!(said_of_many.contains("names 257 zones: the most is 256"), "{said_of_many}");
    let hosts = vec!["a"; 8_193].join(", ");
    let said_of_hosts = said(&format!("{{one: [{hosts}]}}"));
    assert!(said_of_hosts.contains("names 8193 hosts and nodes: the most is 8192"));
    assert!(said("{one: [a], one: [b]}").contains("one"), "the same zone twice");
    assert!(said("[a]").contains("is needed"), "no list of zones: {}", said("[a]"));
}
