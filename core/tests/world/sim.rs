//! The index in its world: it acts on the shipped topology, plays store and links, and keeps the
//! books: what clients were promised, and what was told before it was stored.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use flare_core::model::{HashSettings, Incarnation, NodeKey, State, Timestamp};
use flare_core::stored::StoredTopology;
use flare_core::topology::{
    Answer, DownReason, Effect, Event, Input, Mode, Origin, Refusal, RequestId, Seen, Settings,
    Snapshot, Step, StoreFailure, Targets, Topology,
};
use flare_core::wanted::Wanted;
use flare_core::zones::Zones;

use crate::check::Ledger;
use crate::node::{Key, Node};
use crate::rng::Rng;

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

/// Nodes, links, store and the topology under test.
#[derive(Debug, Clone)]
pub(crate) struct World {
    pub(crate) rng: Rng,
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
    ledger: Ledger,
    /// Who waits for an answer: the node that registers, or nobody who matters.
    pub(crate) asked: BTreeMap<RequestId, Option<usize>>,
    requests: u64,
    /// What relay and links will say about a handover.
    pub(crate) echoes: VecDeque<Input>,
    /// Keys whose writing was acknowledged to a client, but for those whose disks were lost.
    pub(crate) promised: BTreeSet<Key>,
    pub(crate) next_key: Key,
    /// What happened, for whoever looks into a failure.
    pub(crate) story: Vec<String>,
}

fn settings(wanted: Wanted) -> Settings {
    Settings { mode: Mode::Automatic(wanted), nodes_max: 100, zero_unix_millis: 1_000_000_000_000 }
}

impl World {
    pub(crate) fn new(seed: u64, nodes: usize, wanted: Wanted) -> Self {
        let medium = StoredTopology::empty(HashSettings::default());
        let host = |at: usize| NodeKey::new(&format!("h{}", at / 2), 1 + at as i32 % 2);
        Self {
            rng: Rng::new(seed),
            nodes: (0..nodes).map(|at| Node::new(host(at))).collect(),
            links: (0..nodes).map(|_| Link::default()).collect(),
            wanted,
            has_zones: seed.is_multiple_of(2),
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
            promised: BTreeSet::new(),
            next_key: 0,
            story: Vec::new(),
        }
    }

    pub(crate) fn tell(&mut self, what: impl FnOnce() -> String) {
        self.story.push(format!("{:>6} {}", self.now.0, what()));
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
        for effect in step.effects {
            self.effect(effect);
        }
        if let Some(wanted) = step.persist {
            assert!(self.writing.is_none(), "one write at a time");
            self.ledger.tries(&wanted, true);
            self.writing = Some(wanted);
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
                if let Event::CopyChosen { node, partition, .. }
                | Event::LapsedPromoted { node, partition, .. } = event
                {
                    let at = self.at(&node);
                    self.goes_on_with(at, partition);
                }
            }
            Effect::WatchQueue { node, towards, .. } => {
                let at = self.at(&node);
                self.links[at].watched.insert(towards);
            }
            Effect::Connect { node, towards, .. } => {
                let missing = if self.rng.one_in(20) { towards.clone() } else { Vec::new() };
                self.echoes.push_back(Input::Connected { node, towards, missing });
            }
            Effect::OpenRelay { .. } => {
                let relay = self.rng.one_in(2).then(|| NodeKey::new("relay", 1));
                self.echoes.push_back(Input::RelayOpened { relay });
            }
            Effect::EndClients { node } => self.echoes.push_back(Input::ClientsEnded { node }),
            Effect::Introduce { node, .. } => self.echoes.push_back(Input::Introduced { node }),
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

    pub(crate) fn ask(&mut self, asker: Option<usize>, input: impl FnOnce(RequestId) -> Input) {
        let request = self.request(asker);
        if self.input(input(request)).is_some() {
            self.asked.remove(&request);
            if let Some(at) = asker {
                self.nodes[at].stop();
            }
        }
    }

    /// A started node asks to be added; it waits for the answer.
    pub(crate) fn register(&mut self, at: usize) {
        let waits = self.asked.values().any(|asker| *asker == Some(at));
        if self.nodes[at].alive && !self.nodes[at].serving && !waits {
            let node = self.nodes[at].key.clone();
            self.ask(Some(at), |request| Input::Register { request, node, origin: Origin::Node });
        }
    }

    /// SIGTERM: the node says that it leaves, then ends.
    pub(crate) fn leave(&mut self, at: usize) {
        if self.nodes[at].serving {
            let node = self.nodes[at].key.clone();
            self.ask(None, |request| Input::Shutdown { request, node, origin: Origin::Node });
            self.crash(at, false);
        }
    }

    /// The process ends; the connection's end is seen at once.
    pub(crate) fn crash(&mut self, at: usize, with_disk: bool) {
        self.tell(|| format!("crash {at} with_disk={with_disk}"));
        for asker in self.asked.values_mut().filter(|asker| **asker == Some(at)) {
            *asker = None;
        }
        self.nodes[at].stop();
        if with_disk {
            // A disk that is lost in the moment in which the other copy is being emptied is lost.
            (0..self.nodes.len()).for_each(|other| self.empty(other, false));
            for key in std::mem::take(&mut self.nodes[at].keys) {
                if !self.is_kept(key) {
                    self.promised.remove(&key);
                }
            }
        }
        self.end_link(at);
    }

    pub(crate) fn end_link(&mut self, at: usize) {
        if std::mem::take(&mut self.links[at].linked) {
            self.links[at].empties.clear();
            self.links[at].probed = false;
            self.input(Input::LinkEnded { node: self.nodes[at].key.clone() });
        }
    }

    /// The link tries: it stands when the node answers.
    pub(crate) fn try_link(&mut self, at: usize) {
        if self.links[at].linked || self.entry(at).is_none() {
            return;
        }
        let node = self.nodes[at].key.clone();
        if self.nodes[at].serving {
            self.links[at].linked = true;
            self.links[at].probed = true;
            self.input(Input::LinkOpened { node });
        } else {
            self.input(Input::LinkEnded { node });
        }
    }

    pub(crate) fn observe(&mut self, at: usize) {
        if self.links[at].linked {
            self.links[at].probed = false;
            let (node, observation) = (self.nodes[at].key.clone(), self.nodes[at].observation());
            self.input(Input::Observed { node, observation });
            for towards in std::mem::take(&mut self.links[at].watched) {
                let node = self.nodes[at].key.clone();
                self.input(Input::QueueDrained { node, towards });
            }
        }
    }

    /// Sends the newest released map, if the node has an older one.
    pub(crate) fn push(&mut self, at: usize, answer_lost: bool) {
        let Some(map) = self.links[at].released.clone().filter(|_| self.links[at].linked) else {
            return;
        };
        let version = map.version();
        if self.nodes[at].version() < version && self.nodes[at].sync(map) {
            self.tell(|| format!("push {version} to {at} answer_lost={answer_lost}"));
            if !answer_lost {
                let node = self.nodes[at].key.clone();
                self.input(Input::Acknowledged { node, version });
            }
        }
    }

    /// The failure detector: orders what the published map does not show yet.
    pub(crate) fn detect(&mut self, at: usize, mistaken: bool) {
        let Some(entry) = self.entry(at) else { return };
        let answers = self.links[at].linked && self.nodes[at].serving;
        let incarnation = Some(self.nodes[at].incarnation()).filter(|_| answers);
        let seen = Seen { version: self.topology.snapshot().version(), incarnation };
        let node = self.nodes[at].key.clone();
        if entry.state == State::Down && answers {
            self.input(Input::Return { node, seen });
        } else if entry.state != State::Down && (!self.nodes[at].alive || mistaken) {
            self.input(Input::MarkDown { node, seen, reason: DownReason::Refused });
        }
    }

    /// The store answers.
    pub(crate) fn store(&mut self, fails: bool) {
        let Some(state) = self.writing.take() else { return };
        let generation = state.generation;
        if fails {
            let failure = StoreFailure::Unwritable("no space left on device".into());
            self.input(Input::StoreFailed { generation, failure });
        } else {
            self.medium = StoredTopology::clone(&state);
            self.ledger.stores(&self.medium);
            self.input(Input::Stored { generation });
        }
    }

    /// The index is killed and started again; the write under way may have reached the medium, a
    /// `flush_all` under way its node.
    pub(crate) fn restart_index(&mut self) {
        self.tell(|| "the index starts again".to_owned());
        if let Some(state) = self.writing.take()
            && self.rng.one_in(2)
        {
            self.medium = StoredTopology::clone(&state);
            self.ledger.stores(&self.medium);
        }
        for at in 0..self.nodes.len() {
            let sent = self.links[at].empties.pop_front();
            let same = sent.is_some_and(|(_, meant)| self.nodes[at].incarnation().is_same(&meant));
            if same && self.links[at].linked && self.rng.one_in(2) {
                self.flush(at);
            }
            self.links[at] = Link::default();
            if self.nodes[at].alive && !self.nodes[at].serving {
                self.nodes[at].stop();
            }
        }
        self.ledger.restarts();
        self.asked.clear();
        self.echoes.clear();
        self.wake = None;
        self.topology = Topology::new(self.medium.clone(), settings(self.wanted));
        // As from the manifest, which is read at each start.
        self.input(Input::ZonesTold { zones: self.zones.clone() });
        let snapshot = Arc::clone(self.topology.snapshot());
        for (at, node) in self.nodes.iter().enumerate() {
            if snapshot.node(&node.key).is_some() && snapshot.is_for(&node.key) {
                self.links[at].released = Some(Arc::clone(&snapshot));
            }
        }
    }

    pub(crate) fn want(&mut self, wanted: Wanted) {
        self.wanted = wanted;
        self.input(Input::WantedChanged { wanted });
    }

    /// Time passes. A living node takes a map that waits for it well within the time that the index
    /// gives a node to be the first to know, and a `flush_all` is not held up.
    pub(crate) fn pass(&mut self, millis: u64) {
        for at in 0..self.nodes.len() {
            self.try_link(at);
            self.push(at, false);
            self.empty(at, false);
        }
        self.now = self.now.plus_millis(millis);
        if self.wake.is_some_and(|wake| wake <= self.now) {
            self.wake = None;
            self.input(Input::WakeDue);
        }
    }
}
