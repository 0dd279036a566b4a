//! Which node holds what, before anything is lost: as the shipped policy places it, when the nodes
//! of a new cluster have registered, the zones are told and the shape is wanted.

use crate::model::{HashSettings, Role, State, Timestamp};
use crate::policy::breaker::BreakerSettings;
use crate::simulation::cluster::Cluster;
use crate::simulation::conditions::{Conditions, FoundDead, Manner, Storage};
use crate::simulation::deployment::Deployment;
use crate::stored::StoredTopology;
use crate::topology::Input;
use crate::wanted::Wanted;

/// How long the nodes are given to register and to be seen before the shape is wanted.
const REGISTERED_AT: Timestamp = Timestamp(30_000);
/// How long the policy is given to place everything: a partition takes it some seconds.
const PLACED_AT: Timestamp = Timestamp(600_000);

/// While nothing is lost nothing of this matters but that a copy of nothing takes no time.
const CALM: Conditions = Conditions {
    breaker: BreakerSettings { enabled: false, ..BreakerSettings::DEFAULT },
    manner: Manner::Machine,
    storage: Storage::Disk,
    copy_millis: 0,
    apart_millis: 0,
    away_millis: 0,
};

/// The map of the cluster, once it has its shape.
pub(super) fn layout(deployment: &Deployment) -> StoredTopology {
    let empty = StoredTopology::empty(HashSettings::default());
    let waits = Wanted { paused: true, ..deployment.wanted() };
    let mut cluster = Cluster::of(deployment, empty, waits, CALM, FoundDead::InKeyOrder);
    cluster.written.clear();
    cluster.all_register();
    while cluster.now < REGISTERED_AT {
        cluster.go_on(REGISTERED_AT);
    }
    cluster.input(Input::WantedChanged { wanted: deployment.wanted() });
    while cluster.now < PLACED_AT && !is_placed(&cluster, deployment) {
        cluster.go_on(PLACED_AT);
    }
    cluster.topology.snapshot().stored().clone()
}

fn is_placed(cluster: &Cluster, deployment: &Deployment) -> bool {
    let snapshot = cluster.topology.snapshot();
    let placed = snapshot
        .entries()
        .filter(|(_, entry)| entry.role != Role::Proxy && entry.state == State::Active);
    let copies = u64::from(deployment.partitions) * u64::from(deployment.replicas);
    u64::try_from(placed.count()) == Ok(copies)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::simulation::deployment::zones_of;

    /// How many copies of each partition lie in each zone, and how many masters.
    fn spread(deployment: &Deployment) -> (Vec<Vec<usize>>, Vec<usize>) {
        let zones = zones_of(&deployment.seats());
        let stored = layout(deployment);
        let (mut copies, mut masters) = (BTreeMap::new(), BTreeMap::new());
        for (key, node) in stored.nodes.iter().filter(|(_, n)| n.entry.role != Role::Proxy) {
            assert_eq!(node.entry.state, State::Active, "{key} in {deployment:?}");
            let zone = zones.of(key).expect("every zone is told");
            let of: &mut BTreeMap<_, usize> = copies.entry(node.entry.partition).or_default();
            *of.entry(zone).or_default() += 1;
            *masters.entry(zone).or_insert(0) += usize::from(node.entry.role == Role::Master);
        }
        let copies = copies.into_values().map(|of| of.into_values().collect());
        (copies.collect(), masters.into_values().collect())
    }

    fn check(deployment: &Deployment) {
        let (copies, masters) = spread(deployment);
        assert_eq!(copies.len(), deployment.partitions as usize, "{deployment:?}");
        for of in &copies {
            assert_eq!(of.iter().sum::<usize>(), deployment.replicas as usize, "{deployment:?}");
            let most = deployment.replicas.min(deployment.zones) as usize;
            assert_eq!(of.len(), most, "zones of one partition in {deployment:?}: {copies:?}");
        }
        let (fewest, most) = (masters.iter().min(), masters.iter().max());
        let apart = most.unwrap_or(&0) - fewest.unwrap_or(&0);
        assert!(apart <= 1, "masters per zone in {deployment:?}: {masters:?}");
    }

    #[test]
    fn copies_of_a_partition_are_in_as_many_zones_as_there_are() {
        Deployment::usual().iter().for_each(check);
    }

    #[test]
    fn larger_clusters_and_spares_are_spread_as_well() {
        for zones in 2..=5 {
            for replicas in 2..=3 {
                for partitions in [4, 5, 7] {
                    for spares in [0, 1, 3] {
                        let nodes = partitions * replicas + spares;
                        check(&Deployment { partitions, replicas, zones, nodes });
                    }
                }
            }
        }
    }
}
