//! The shipped decisions among simulated nodes, in virtual time: topology and failover policy as
//! they are, and around them what actors and flareds do, each in the moment it is due.
//!
//! Storing, pushing and answering take no time here, so that what is measured is what is decided:
//! detection, its waits, and the time that a copy takes.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::model::{NO_PARTITION, NodeEntry, NodeKey, State, Timestamp};
use crate::policy::failover::Failover;
use crate::policy::suspicion::MonitorSettings;
use crate::simulation::conditions::{Conditions, FoundDead};
use crate::simulation::deployment::{Deployment, zones_of};
use crate::simulation::layout::layout;
use crate::simulation::node::Node;
use crate::stored::StoredTopology;
use crate::topology::{
    Answer, Blocked, Effect, Input, Mode, RequestId, Settings, Snapshot, Step, Targets, Topology,
};
use crate::wanted::Wanted;

/// Each partition that is served is written to this often.
pub(super) const WRITE_MILLIS: u64 = 1_000;
/// Writes that each partition has at the start.
const WRITTEN_BEFORE: u64 = 1_000;
/// A flared whose `node add` was refused ends; whoever runs it starts it again after this.
const START_AGAIN_MILLIS: u64 = 1_000;

/// What a link does at the moment.
#[derive(Debug, Clone, Default)]
pub(super) struct Link {
    pub(super) linked: bool,
    /// An attempt or a ping that nobody will answer ends at this moment.
    pub(super) hangs_until: Option<Timestamp>,
    pub(super) observe_at: Timestamp,
    /// The newest map that may be sent.
    pub(super) released: Option<Arc<Snapshot>>,
}

/// One cluster with its index.
#[derive(Debug, Clone)]
pub(super) struct Cluster {
    pub(super) now: Timestamp,
    pub(super) nodes: Vec<Node>,
    /// Writes that were acknowledged, by partition.
    pub(super) written: BTreeMap<i32, u64>,
    pub(super) failover: Failover,
    pub(super) conditions: Conditions,
    pub(super) topology: Topology,
    found_dead: FoundDead,
    pub(super) links: Vec<Link>,
    inputs: VecDeque<Input>,
    wake: Option<Timestamp>,
    pub(super) write_at: Timestamp,
    /// Who waits for the answer to `node add`.
    pub(super) asked: BTreeMap<RequestId, usize>,
    requests: u64,
    /// When a node tries again whose `node add` was refused.
    pub(super) starts_again: BTreeMap<usize, Timestamp>,
}

impl Cluster {
    /// A cluster that has its shape and whose index was just started.
    pub(super) fn new(
        deployment: &Deployment,
        conditions: Conditions,
        found_dead: FoundDead,
    ) -> Self {
        let stored = layout(deployment);
        Self::of(deployment, stored, deployment.wanted(), conditions, found_dead)
    }

    /// The nodes of a deployment, which know the stored map if they are in it, and an index that
    /// was just started with it.
    pub(super) fn of(
        deployment: &Deployment,
        stored: StoredTopology,
        wanted: Wanted,
        conditions: Conditions,
        found_dead: FoundDead,
    ) -> Self {
        let seats = deployment.seats();
        let pid = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        let mut nodes: Vec<Node> = seats
            .iter()
            .enumerate()
            .map(|(at, seat)| Node::new(seat.node.clone(), seat.zone, pid(at)))
            .collect();
        for node in &mut nodes {
            node.entry = stored.nodes.get(&node.key).map(|stored| stored.entry);
            let partition = node.entry.map(|entry| entry.partition).filter(|of| *of >= 0);
            node.data.extend(partition.map(|partition| (partition, WRITTEN_BEFORE)));
        }
        let partitions = i32::try_from(deployment.partitions).unwrap_or(i32::MAX);
        let settings =
            Settings { mode: Mode::Automatic(wanted), nodes_max: nodes.len(), zero_unix_millis: 0 };
        let topology = Topology::new(stored, settings);
        let zones = Input::ZonesTold { zones: zones_of(&seats) };
        let mut failover =
            Failover::new(MonitorSettings::DEFAULT, conditions.breaker, false, Timestamp(0));
        let told = failover.published(topology.snapshot(), Timestamp(0));
        let first = topology.snapshot();
        let links =
            nodes.iter().map(|_| Link { released: Some(Arc::clone(first)), ..Link::default() });
        Self {
            now: Timestamp(0),
            links: links.collect(),
            nodes,
            written: (0..partitions).map(|partition| (partition, WRITTEN_BEFORE)).collect(),
            failover,
            topology,
            conditions,
            found_dead,
            inputs: std::iter::once(zones).chain(told).collect(),
            wake: None,
            write_at: Timestamp(WRITE_MILLIS),
            asked: BTreeMap::new(),
            requests: 0,
            starts_again: BTreeMap::new(),
        }
    }

    /// Goes on to the next moment at which anything is due, but not beyond `end`.
    pub(super) fn go_on(&mut self, end: Timestamp) {
        self.now = self.next_due().max(self.now).min(end);
        for place in 0..self.nodes.len() {
            self.attend(match self.found_dead {
                FoundDead::InKeyOrder => place,
                FoundDead::InReverse => self.nodes.len() - 1 - place,
            });
        }
        if self.now >= self.write_at {
            self.write_at = self.now.plus_millis(WRITE_MILLIS);
            self.write();
        }
        if self.failover.breaker().0.closes_at().is_some_and(|at| at <= self.now) {
            let told = self.failover.wake(self.now);
            self.inputs.extend(told);
        }
        if self.wake.is_some_and(|at| at <= self.now) {
            self.wake = None;
            self.inputs.push_back(Input::WakeDue);
        }
        self.take_inputs();
    }

    fn next_due(&self) -> Timestamp {
        let attempts = self.nodes.iter().zip(&self.links).filter_map(|(node, link)| {
            link.hangs_until.or_else(|| self.failover.suspicion().next_attempt(&node.key))
        });
        let copies = self.nodes.iter().filter_map(|node| node.copy.as_ref().map(|copy| copy.ends));
        attempts
            .chain(copies)
            .chain(self.wake)
            .chain(self.failover.breaker().0.closes_at())
            .chain(self.starts_again.values().copied())
            .fold(self.write_at, Timestamp::min)
    }

    pub(super) fn request(&mut self) -> RequestId {
        self.requests += 1;
        RequestId(self.requests)
    }

    pub(super) fn at(&self, key: &NodeKey) -> Option<usize> {
        self.nodes.iter().position(|node| node.key == *key)
    }

    pub(super) fn input(&mut self, input: Input) {
        self.inputs.push_back(input);
    }

    /// Gives what waits to the topology, and carries out what comes of it, until nothing does.
    pub(super) fn take_inputs(&mut self) {
        while let Some(input) = self.inputs.pop_front() {
            let asker = match &input {
                Input::Register { request, .. } => Some(*request),
                _ => None,
            };
            match self.topology.handle(input, self.now) {
                Ok(step) => self.carry_out(step),
                // A refused order is given again with the next evidence.
                Err(_) => asker.into_iter().for_each(|request| self.refused(request)),
            }
        }
    }

    fn refused(&mut self, request: RequestId) {
        if let Some(at) = self.asked.remove(&request) {
            self.starts_again.insert(at, self.now.plus_millis(START_AGAIN_MILLIS));
        }
    }

    fn carry_out(&mut self, step: Step) {
        for effect in step.effects {
            self.effect(effect);
        }
        if let Some(state) = step.persist {
            self.inputs.push_front(Input::Stored { generation: state.generation });
        }
    }

    fn effect(&mut self, effect: Effect) {
        match effect {
            Effect::Publish(snapshot) => {
                let told = self.failover.published(&snapshot, self.now);
                self.inputs.extend(told);
            }
            Effect::Push { snapshot, to } => self.release(&snapshot, &to),
            Effect::Reply { request, answer: Answer::Registered(map) } => {
                if let Some(at) = self.asked.remove(&request) {
                    self.nodes[at].registered(&map);
                }
            }
            Effect::Reply { request, answer: Answer::Refused(_) } => self.refused(request),
            Effect::Probe { node } => {
                if let Some(at) = self.at(&node) {
                    self.observe(at);
                }
            }
            Effect::Empty { node, intent, incarnation } => self.empty(&node, intent, incarnation),
            Effect::WatchQueue { node, towards, .. } => {
                self.input(Input::QueueDrained { node, towards });
            }
            Effect::Connect { node, towards, .. } => {
                self.input(Input::Connected { node, towards, missing: Vec::new() });
            }
            Effect::WakeAt(at) => self.wake = Some(at),
            // Answers that nobody waits for; what people are told; handovers: nobody asks for one.
            Effect::Reply { .. }
            | Effect::Happened(_)
            | Effect::OpenRelay { .. }
            | Effect::Introduce { .. }
            | Effect::ReleaseRelay { .. }
            | Effect::CloseRelay
            | Effect::ForgetKeys { .. }
            | Effect::FreeStuckWriters { .. }
            | Effect::EndClients { .. } => {}
        }
    }

    fn release(&mut self, snapshot: &Arc<Snapshot>, to: &Targets) {
        for at in 0..self.nodes.len() {
            let key = &self.nodes[at].key;
            let meant = match to {
                Targets::AllBut(left) => !left.contains(key),
                Targets::Only(only) => only.contains(key),
            };
            if meant && snapshot.node(key).is_some() {
                self.links[at].released = Some(Arc::clone(snapshot));
                self.push(at);
            }
        }
    }

    /// The partitions that have a serving master, which has all that was written.
    pub(super) fn served(&self) -> Vec<i32> {
        let master = |partition: i32| {
            let stored = self.topology.snapshot().stored();
            self.nodes.iter().find(move |node| {
                let known = stored.nodes.get(&node.key).map(|node| node.entry);
                node.is_serving()
                    && known.is_some_and(|entry| is_serving_master(entry, partition))
                    && node.entry.is_some_and(|entry| is_serving_master(entry, partition))
            })
        };
        let whole = |(partition, written): (&i32, &u64)| {
            master(*partition).is_some_and(|node| node.data.get(partition) == Some(written))
        };
        self.written.iter().filter(|(p, w)| whole((p, w))).map(|(p, _)| *p).collect()
    }

    /// The partitions of which a living node has all that was written.
    pub(super) fn alive(&self) -> Vec<i32> {
        let kept = |(partition, written): &(&i32, &u64)| {
            let living = self.nodes.iter().filter(|node| node.is_serving());
            living.into_iter().any(|node| node.data.get(*partition) == Some(*written))
        };
        self.written.iter().filter(kept).map(|(partition, _)| *partition).collect()
    }

    /// Does the breaker keep the index from acting?
    pub(super) fn is_open(&self) -> bool {
        self.failover.breaker().0.is_open()
    }

    /// Has every partition all its copies again, each with every write, and does the index act?
    pub(super) fn is_whole(&self) -> bool {
        let entries = || self.topology.snapshot().entries();
        let complete = |node: &Node| {
            let partition = node.entry.map_or(NO_PARTITION, |entry| entry.partition);
            self.written.get(&partition).is_none_or(|all| node.data.get(&partition) == Some(all))
        };
        self.served().len() == self.written.len()
            && !self.is_open()
            && self.topology.blocked().iter().all(|what| matches!(what, Blocked::OneZone { .. }))
            && entries().all(|(_, entry)| entry.state == State::Active)
            && self.nodes.iter().all(complete)
    }
}

pub(super) fn is_serving_master(entry: NodeEntry, partition: i32) -> bool {
    entry.is_master_of(partition) && entry.state == State::Active
}
