//! The index in its world: it acts on the shipped topology, plays store and links, and keeps the
//! books: what clients were promised, and what was told before it was stored.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use flare_core::model::{HashSettings, Incarnation, NodeKey, Timestamp};
use flare_core::stored::StoredTopology;
use flare_core::topology::{
    Answer, Effect, Event, Input, Mode, Refusal, RequestId, Settings, Snapshot, Step, Targets,
    Topology,
};
use flare_core::wanted::Wanted;
use flare_core::zones::Zones;

use crate::check::Ledger;
use crate::data::{Key, Value};
use crate::killed::Death;
use crate::node::Node;

/// The index's connection to one node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Link {
    pub(crate) linked: bool,
    /// The newest map that may be sent to it.
    pub(crate) released: Option<Arc<Snapshot>>,
    /// Asked for its `stats`.
    pub(crate) probed: bool,
    /// The thread types whose queues are watched; nothing is ever queued in this world.
    pub(crate) watched: BTreeSet<u32>,
    /// `flush_all` to be sent: the intent, and the process that is meant.
    pub(crate) empties: VecDeque<(u64, Incarnation)>,
}

/// What relay and links will say one day, well or not.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Due {
    Connected { node: NodeKey, towards: Vec<u32> },
    ClientsEnded { node: NodeKey },
    RelayOpened,
    Introduced { node: NodeKey },
}

/// Nodes, links, store and the topology under test.
#[derive(Debug, Clone)]
pub(crate) struct World {
    pub(crate) nodes: Vec<Node>,
    pub(crate) links: Vec<Link>,
    pub(crate) wanted: Wanted,
    /// Are zones ever told?
    pub(crate) has_zones: bool,
    /// As they were told last.
    pub(crate) zones: Zones,
    pub(crate) now: Timestamp,
    pub(crate) wake: Option<Timestamp>,
    pub(crate) topology: Topology,
    pub(crate) writing: Option<Arc<StoredTopology>>,
    pub(crate) medium: StoredTopology,
    pub(crate) ledger: Ledger,
    /// Who waits for an answer: the node that registers, or nobody who matters.
    pub(crate) asked: BTreeMap<RequestId, Option<usize>>,
    requests: u64,
    pub(crate) echoes: VecDeque<Due>,
    /// How often the index was started.
    pub(crate) life: u32,
    /// What was acknowledged to clients: the last value of a key, or that it was deleted. A key is
    /// missing here when it is not clear what it is to be, or the disks that held it were lost.
    pub(crate) promised: BTreeMap<Key, Option<Value>>,
    /// Keys of which some node has an outdated entry that may win: nothing is promised of them.
    pub(crate) stale: BTreeSet<Key>,
    pub(crate) next_key: Key,
    pub(crate) next_value: Value,
    pub(crate) clients: usize,
    /// The circuit breaker is to be open.
    pub(crate) breaker_opens: bool,
    /// For each thing that the index did, in how many ways it could be killed behind it.
    pub(crate) moments: Vec<usize>,
    pub(crate) death: Option<Death>,
    /// What happened, for whoever looks into a failure, if it is told.
    pub(crate) story: Vec<String>,
    pub(crate) is_silent: bool,
}

pub(crate) fn settings(wanted: Wanted) -> Settings {
    Settings { mode: Mode::Automatic(wanted), nodes_max: 100, zero_unix_millis: 1_000_000_000_000 }
}

impl World {
    pub(crate) fn new(nodes: usize, wanted: Wanted, has_zones: bool) -> Self {
        let medium = StoredTopology::empty(HashSettings::default());
        let host = |at: usize| NodeKey::new(&format!("h{}", at / 2), 1 + at as i32 % 2);
        Self {
            nodes: (0..nodes).map(|at| Node::new(host(at))).collect(),
            links: (0..nodes).map(|_| Link::default()).collect(),
            wanted,
            has_zones,
            zones: Zones::default(),
            now: Timestamp(0),
            wake: None,
            topology: Topology::new(medium.clone(), settings(wanted)),
            writing: None,
            medium,
            ledger: Ledger::default(),
            asked: BTreeMap::new(),
            requests: 0,
            echoes: VecDeque::new(),
            life: 1,
            promised: BTreeMap::new(),
            stale: BTreeSet::new(),
            next_key: 0,
            next_value: 0,
            clients: 0,
            breaker_opens: false,
            moments: Vec::new(),
            death: None,
            story: Vec::new(),
            is_silent: false,
        }
    }

    pub(crate) fn tell(&mut self, what: impl FnOnce() -> String) {
        if !self.is_silent {
            self.story.push(format!("{:>6} {}", self.now.0, what()));
        }
    }

    pub(crate) fn at(&self, key: &NodeKey) -> usize {
        self.nodes.iter().position(|node| node.key == *key).expect("a node of this world")
    }

    /// The committed entry of a node.
    pub(crate) fn entry(&self, at: usize) -> Option<flare_core::model::NodeEntry> {
        self.topology.snapshot().node(&self.nodes[at].key).map(|node| node.entry)
    }

    /// Gives an input to the topology and carries out what comes of it.
    pub(crate) fn input(&mut self, input: Input) -> Option<Refusal> {
        self.tell(|| format!("{input:?}"));
        match self.topology.handle(input, self.now) {
            Ok(step) => {
                self.carry_out(step);
                None
            }
            Err(refusal) => {
                assert!(!matches!(refusal, Refusal::Invariant(_)), "a bug of ours: {refusal:?}");
                Some(refusal)
            }
        }
    }

    fn carry_out(&mut self, step: Step) {
        if self.dies_here() {
            return;
        }
        if let Some(wanted) = step.persist {
            assert!(self.writing.is_none(), "one write at a time");
            self.ledger.tries(&wanted, true);
            self.writing = Some(wanted);
            if self.dies_here() {
                return;
            }
        }
        for effect in step.effects {
            self.effect(effect);
            if self.dies_here() {
                return;
            }
        }
    }

    fn effect(&mut self, effect: Effect) {
        match effect {
            Effect::Publish(snapshot) => {
                self.ledger.tells(snapshot.stored());
                if let Some(handover) = &snapshot.stored().handover {
                    let from = self.at(&handover.from);
                    self.nodes[from].handed_over = true;
                }
            }
            Effect::Push { snapshot, to } => {
                self.ledger.tells(snapshot.stored());
                for (at, node) in self.nodes.iter().enumerate() {
                    let meant = match &to {
                        Targets::AllBut(left) => !left.contains(&node.key),
                        Targets::Only(only) => only.contains(&node.key),
                    };
                    if meant && snapshot.node(&node.key).is_some() {
                        self.links[at].released = Some(Arc::clone(&snapshot));
                    }
                }
            }
            Effect::Reply { request, answer } => self.answered(request, answer),
            Effect::Probe { node } => {
                let at = self.at(&node);
                self.links[at].probed = true;
            }
            Effect::Empty { node, intent, incarnation } => {
                let at = self.at(&node);
                self.tell(|| format!("    empty {at} for intent {intent}"));
                self.links[at].empties.push_back((intent, incarnation));
            }
            Effect::WakeAt(at) => {
                self.wake =
                    Some(self.wake.filter(|wake| *wake > self.now).map_or(at, |w| w.min(at)));
            }
            Effect::Happened(event) => {
                assert!(!matches!(event, Event::InvariantBroken { .. }), "{event:?}");
                self.tell(|| format!("    {event:?}"));
            }
            Effect::WatchQueue { node, towards, .. } => {
                let at = self.at(&node);
                self.links[at].watched.insert(towards);
            }
            Effect::Connect { node, towards, .. } => {
                self.echoes.push_back(Due::Connected { node, towards });
            }
            Effect::OpenRelay { .. } => self.echoes.push_back(Due::RelayOpened),
            Effect::EndClients { node } => self.echoes.push_back(Due::ClientsEnded { node }),
            Effect::Introduce { node, .. } => self.echoes.push_back(Due::Introduced { node }),
            Effect::ReleaseRelay { .. }
            | Effect::CloseRelay
            | Effect::ForgetKeys { .. }
            | Effect::FreeStuckWriters { .. } => {}
        }
    }

    fn answered(&mut self, request: RequestId, answer: Answer) {
        let asker = self.asked.remove(&request).expect("who asks is answered once");
        match (answer, asker) {
            (Answer::Registered(snapshot), Some(at)) => {
                self.ledger.tells(snapshot.stored());
                if self.nodes[at].alive && !self.nodes[at].serving {
                    self.nodes[at].registered(snapshot);
                }
            }
            // flared exits when its `node add` is refused.
            (_, Some(at)) => self.nodes[at].stop(),
            (_, None) => {}
        }
    }

    fn request(&mut self, asker: Option<usize>) -> RequestId {
        self.requests += 1;
        let request = RequestId(self.requests);
        self.asked.insert(request, asker);
        request
    }

    /// Is it done, or at least not refused at once?
    pub(crate) fn ask(
        &mut self,
        asker: Option<usize>,
        input: impl FnOnce(RequestId) -> Input,
    ) -> bool {
        let request = self.request(asker);
        let refused = self.input(input(request)).is_some();
        if refused {
            self.asked.remove(&request);
            if let Some(at) = asker {
                self.nodes[at].stop();
            }
        }
        !refused
    }
}
