//! Every loss of a node or a zone, alone and in pairs, and what becomes of the partitions.

use std::fmt;

use crate::model::{NodeKey, Timestamp};
use crate::simulation::cluster::Cluster;
use crate::simulation::conditions::{Conditions, FoundDead};
use crate::simulation::deployment::{Deployment, zone_name};

/// The first loss comes when the index has run for so long, in milliseconds: its startup grace is
/// over, and it has heard from every node.
const FIRST_LOSS_AT: Timestamp = Timestamp(60_000);

/// How long a cluster is given to get well after the nodes came back, in milliseconds.
const RECOVERY_MILLIS_MAX: u64 = 120_000;

/// What is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// One node.
    Node,
    /// All nodes of a zone at once.
    Zone,
    /// A node, and later another one.
    TwoNodes,
    /// A node and a zone, in either order.
    NodeAndZone,
    /// A zone, and later another one.
    TwoZones,
}

impl Kind {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Self; 5] =
        [Self::Node, Self::Zone, Self::TwoNodes, Self::NodeAndZone, Self::TwoZones];
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Node => "one node",
            Self::Zone => "one zone",
            Self::TwoNodes => "node, then node",
            Self::NodeAndZone => "node and zone",
            Self::TwoZones => "zone, then zone",
        })
    }
}

/// What became of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outcome {
    /// Was the breaker open at any time before the nodes came back?
    pub trips: bool,
    /// Partitions without a serving master when everything had settled.
    pub down: Vec<i32>,
    /// Those of them of which a living node has every write all the same: the index could serve
    /// them, and does not.
    pub held_back: Vec<i32>,
    /// From the last loss until the last partition that was served again was so, in milliseconds;
    /// `None` when none had to move, or none did.
    pub moved_after_millis: Option<u64>,
    /// From the return until the breaker was closed, in milliseconds; 0 when it was closed at that
    /// moment, `None` when it stays open until a person resets it.
    pub closed_after_millis: Option<u64>,
    /// From the return until the last partition that was served again was so, in milliseconds;
    /// `None` when none was down, or none came back.
    pub served_after_millis: Option<u64>,
    /// Partitions of which no node has every write, also after the return.
    pub lost: Vec<i32>,
    /// Did every partition get all its copies again by itself, each with every write, within two
    /// minutes?
    pub whole: bool,
}

/// One loss, or two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    /// What kind it is.
    pub kind: Kind,
    /// What was lost, in order: `node a0` or `zone a`.
    pub losses: Vec<String>,
    /// What became of it.
    pub outcome: Outcome,
}

/// Something that is lost at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Loss {
    Node(usize),
    Zone(u32),
}

impl Outcome {
    /// How bad it is; of two the greater one is worse.
    fn badness(&self) -> impl Ord {
        let unhappy = (self.lost.len(), self.down.len(), self.held_back.len(), self.trips);
        (unhappy, self.moved_after_millis, self.served_after_millis)
    }
}

/// Tries every single loss, and every order of two: nodes, zones, and one of each. In each the
/// nodes come back in the end, all at once. Where it depends on who of those that died together is
/// found dead first, the worse is told.
pub fn study(deployment: &Deployment, conditions: Conditions) -> Vec<Case> {
    let found = |order| study_found(Cluster::new(deployment, conditions, order), deployment.zones);
    let pairs = found(FoundDead::InKeyOrder).into_iter().zip(found(FoundDead::InReverse));
    let worse = |(one, other): (Case, Case)| {
        if other.outcome.badness() > one.outcome.badness() { other } else { one }
    };
    pairs.map(worse).collect()
}

fn study_found(mut calm: Cluster, zones: u32) -> Vec<Case> {
    while calm.now < FIRST_LOSS_AT {
        calm.go_on(FIRST_LOSS_AT);
    }
    let nodes = (0..calm.nodes.len()).map(Loss::Node);
    let losses: Vec<Loss> = nodes.chain((0..zones).map(Loss::Zone)).collect();
    let mut cases = Vec::new();
    for first in &losses {
        let once = Trial::begin(calm.clone(), *first);
        for second in &losses {
            let kind = match (first, second) {
                (Loss::Node(_), Loss::Node(_)) => Kind::TwoNodes,
                (Loss::Zone(_), Loss::Zone(_)) => Kind::TwoZones,
                _ => Kind::NodeAndZone,
            };
            if !once.nodes_of(*second).is_empty() {
                let losses = vec![name_of(&calm, *first), name_of(&calm, *second)];
                let outcome = once.clone().go_on_with(*second).end();
                cases.push(Case { kind, losses, outcome });
            }
        }
        let kind = if matches!(first, Loss::Node(_)) { Kind::Node } else { Kind::Zone };
        cases.push(Case { kind, losses: vec![name_of(&calm, *first)], outcome: once.end() });
    }
    cases.sort_by_key(|case| case.kind);
    cases
}

fn name_of(cluster: &Cluster, loss: Loss) -> String {
    match loss {
        Loss::Node(at) => {
            format!("node {}", cluster.nodes.get(at).map_or("?", |node| NodeKey::name(&node.key)))
        }
        Loss::Zone(zone) => format!("zone {}", zone_name(zone)),
    }
}

/// A cluster that loses nodes.
#[derive(Clone)]
struct Trial {
    cluster: Cluster,
    lost_at: Timestamp,
    trips: bool,
    moved_after_millis: Option<u64>,
}

impl Trial {
    fn begin(cluster: Cluster, loss: Loss) -> Self {
        let lost_at = cluster.now;
        Self { cluster, lost_at, trips: false, moved_after_millis: None }.go_on_with(loss)
    }

    /// Those of its nodes that are not lost yet.
    fn nodes_of(&self, loss: Loss) -> Vec<usize> {
        let nodes = self.cluster.nodes.iter().enumerate().filter(|(at, node)| match loss {
            Loss::Node(lost) => *at == lost,
            Loss::Zone(zone) => node.zone == zone,
        });
        nodes.filter(|(_, node)| node.is_serving()).map(|(at, _)| at).collect()
    }

    fn go_on_with(mut self, loss: Loss) -> Self {
        self.lost_at = self.cluster.now;
        self.moved_after_millis = None;
        self.cluster.lose(&self.nodes_of(loss));
        self.watch(self.cluster.conditions.apart_millis);
        self
    }

    /// Time passes, and what becomes of the breaker and the masters is noted.
    fn watch(&mut self, millis: u64) {
        let end = self.cluster.now.plus_millis(millis);
        let mut before = self.cluster.served().len();
        while self.cluster.now < end {
            self.cluster.go_on(end);
            self.trips |= self.cluster.is_open();
            let served = self.cluster.served().len();
            if served > before {
                self.moved_after_millis = Some(self.cluster.now.millis_since(self.lost_at));
            }
            before = served;
        }
    }

    /// All has settled, and then the nodes come back.
    fn end(mut self) -> Outcome {
        self.watch(self.cluster.conditions.away_millis);
        let all: Vec<i32> = self.cluster.written.keys().copied().collect();
        let without = |some: &[i32]| -> Vec<i32> {
            all.iter().filter(|partition| !some.contains(partition)).copied().collect()
        };
        let down = without(&self.cluster.served());
        let alive = self.cluster.alive();
        let held_back =
            down.iter().filter(|partition| alive.contains(partition)).copied().collect();
        let returned = self.cluster.now;
        let was_open = self.cluster.is_open();
        let (mut closed_after_millis, mut served_after_millis) = (None, None);
        let mut before = self.cluster.served().len();
        self.cluster.bring_back();
        let end = returned.plus_millis(RECOVERY_MILLIS_MAX);
        while self.cluster.now < end && !self.cluster.is_whole() {
            self.cluster.go_on(end);
            let after = self.cluster.now.millis_since(returned);
            closed_after_millis = match self.cluster.is_open() {
                true => None,
                false => closed_after_millis.or(Some(after)),
            };
            let served = self.cluster.served().len();
            if served > before {
                served_after_millis = Some(after);
            }
            before = served;
        }
        let lost = without(&self.cluster.alive());
        Outcome {
            trips: self.trips,
            down,
            held_back,
            moved_after_millis: self.moved_after_millis,
            closed_after_millis: if was_open { closed_after_millis } else { Some(0) },
            served_after_millis,
            lost,
            whole: self.cluster.is_whole(),
        }
    }
}

#[cfg(test)]
#[path = "study_tests.rs"]
mod tests;
