//! What each transcript assumes to have happened before its first line, and which transcripts say
//! nothing about the index.

/// How to bring an index to where a transcript begins. Ports are the recorded ones.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scenario {
    /// The transcript's name.
    pub(super) name: &'static str,
    /// `monitor-interval`, in seconds.
    pub(super) interval: u32,
    /// Whether the index runs when the recording begins.
    pub(super) started: bool,
    /// One action each: `add P`, `end P` (the process ends in an orderly way), a command such as
    /// `role P …` that is sent to the index as `node role HOST P …`, `back P` (wait until it is
    /// an active proxy), `version N` (harmless changes until the map has this version).
    pub(super) before: &'static [&'static [&'static str]],
    /// Nodes that must have taken a version in before anyone else is told it: (version, node).
    pub(super) prior: &'static [(u64, u16)],
    /// Connections that ended before another was opened, though the recording does not show it:
    /// (ended, opened). The `stats threads` that follows shows it.
    pub(super) unseen_ends: &'static [(u32, u32)],
}

/// Two proxies.
const TWO: &[&str] = &["add 12121", "add 12122"];

/// Five proxies: version 5.
const FIVE: &[&str] = &["add 12121", "add 12122", "add 12123", "add 12124", "add 12125"];

/// 12121 and 12122 as partition 0: four versions.
const PARTITION_0: &[&str] = &[
    "role 12121 master 1 0",
    "role 12122 slave 0 0",
    "state 12122 active",
    "role 12122 slave 1 0",
];

/// 12123 and 12124 as partition 1: six versions.
const PARTITION_1: &[&str] = &[
    "role 12123 master 1 1",
    "state 12123 ready",
    "state 12123 active",
    "role 12124 slave 0 1",
    "state 12124 active",
    "role 12124 slave 1 1",
];

/// 12122 leaves for good.
const WITHOUT_12122: &[&str] = &["end 12122", "remove 12122"];

/// Two partitions of two and a proxy, version 15: where most recordings begin.
const CLUSTER: &[&[&str]] = &[FIVE, PARTITION_0, PARTITION_1, &["version 15"]];

const fn scenario(name: &'static str, before: &'static [&'static [&'static str]]) -> Scenario {
    Scenario { name, interval: 1, started: true, before, prior: &[], unseen_ends: &[] }
}

/// The transcripts that are replayed.
pub(super) const SCENARIOS: &[Scenario] = &[
    scenario("client-basic-empty-index", &[]),
    scenario("client-kill", &[TWO]),
    scenario("client-line-endings", &[]),
    scenario("client-node-commands-bad-arguments", &[]),
    scenario("client-refused-transitions", CLUSTER),
    Scenario { unseen_ends: &[(1, 2)], ..scenario("client-stats", &[]) },
    scenario("client-stats-with-nodes", &[TWO]),
    scenario("client-unknown-and-bad-arguments", &[]),
    Scenario { prior: &[(16, 12122)], ..scenario("failover-master-killed", CLUSTER) },
    scenario("flarei-restart-with-empty-map", FOUR_NODES),
    scenario("flarei-restart-with-old-map", FOUR_NODES),
    scenario("graceful-restart-of-proxy", AFTER_A_FAILOVER),
    scenario("graceful-shutdown-of-slave-and-remove", CLUSTER),
    scenario("long-host-names", &[]),
    scenario("manual-down-of-healthy-slave", CLUSTER),
    scenario("master-without-slave-killed-and-back", MASTER_ALONE),
    scenario("restart-before-marked-down", CLUSTER),
    scenario("role-first-master", &[FIVE]),
    Scenario {
        prior: &[(12, 12123)],
        ..scenario("role-second-partition", &[FIVE, PARTITION_0, &["version 9"]])
    },
    scenario("role-slave-with-dump", &[FIVE, &["role 12121 master 1 0", "version 6"]]),
    scenario("scale-out-cancelled", PREPARING),
    scenario("slave-hangs-and-recovers", CLUSTER),
    scenario("slave-killed-and-back", CLUSTER),
    Scenario { interval: 5, ..scenario("start-up-two-new-nodes", &[]) },
    Scenario { started: false, ..scenario("start-up-without-flarei", &[]) },
];

const FOUR_NODES: &[&[&str]] = &[
    &["add 12121", "add 12122", "add 12123", "add 12124"],
    PARTITION_0,
    PARTITION_1,
    &["version 14"],
];

const MASTER_ALONE: &[&[&str]] = &[FIVE, PARTITION_0, PARTITION_1, WITHOUT_12122, &["version 17"]];

/// 12122 is gone, 12123 was down and is a proxy now, 12124 is master of partition 1.
const AFTER_A_FAILOVER: &[&[&str]] = &[
    FIVE,
    PARTITION_0,
    PARTITION_1,
    WITHOUT_12122,
    &["state 12123 down", "back 12123", "version 20"],
];

/// A third partition is ready to be activated.
const PREPARING: &[&[&str]] = &[
    FIVE,
    PARTITION_0,
    PARTITION_1,
    &[
        "add 12126",
        "role 12125 master 1 2",
        "state 12125 ready",
        "role 12126 slave 1 2",
        "state 12126 active",
        "version 20",
    ],
];

/// Transcripts in which no byte of an index occurs, with the reason.
#[cfg(test)]
const NOT_REPLAYED: &[(&str, &str)] = &[
    ("cluster-replication", "between nodes of two clusters"),
    ("node-observation-commands", "an observer asks a node"),
    ("node-start-up-against-odd-index", "the index is hand-written"),
    ("node-state-reports-and-failures", "the index is hand-written"),
    ("node-sync-versions", "the index is hand-written"),
    ("proxy-node", "between clients and nodes"),
    ("shutdown-without-flarei", "the index is absent"),
    ("thread-type-must-be-unique", "the index is hand-written"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transcript::Transcript;
    use std::collections::BTreeSet;

    #[test]
    fn every_transcript_is_replayed_or_there_is_a_reason_not_to() {
        let known: BTreeSet<&str> = SCENARIOS
            .iter()
            .map(|scenario| scenario.name)
            .chain(NOT_REPLAYED.iter().map(|(name, _)| *name))
            .collect();
        assert_eq!(known.len(), SCENARIOS.len() + NOT_REPLAYED.len(), "one is named twice");
        for entry in std::fs::read_dir(Transcript::folder()).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|ending| ending == "txt") {
                let name = path.file_stem().unwrap().to_string_lossy().into_owned();
                assert!(known.contains(name.as_str()), "{name} is neither");
            }
        }
    }
}
