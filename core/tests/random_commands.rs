//! Random commands, facts, store failures and restarts, in both modes, sensible or not: nothing
//! breaks a rule, nobody is told what is not stored, whoever asks is answered once.
//!
//! Nodes here are not obedient: they acknowledge what they were never sent, show any version,
//! answer for others. (`tests/world` has honest nodes, with data.) A failing sequence is shrunk,
//! printed and remembered in a file beside this one, which belongs into the repository.
//! `PROPTEST_CASES=100000` plays more.

#[path = "world/check.rs"]
mod check;

use std::collections::BTreeMap;
use std::sync::Arc;

use check::Ledger;
use flare_core::model::{HashSettings, Incarnation, NodeKey, Role, State, Timestamp};
use flare_core::stored::StoredTopology;
use flare_core::topology::{
    Answer, DownReason, Effect, Event, HandoverHow, HandoverWay, Input, Mode, Observation, Origin,
    Refusal, RequestId, Seen, Settings, Step, StoreFailure, Topology,
};
use flare_core::wanted::Wanted;
use proptest::prelude::*;

/// Nodes that commands speak of; one more than the cluster may have.
const NODES: u8 = 5;

/// What happens next: which kind of thing, to which node, and three choices.
type Happening = [u8; 5];

proptest! {
    #[test]
    fn no_order_of_commands_breaks_a_rule(
        automatic: bool,
        happenings in proptest::collection::vec(any::<Happening>(), 0..200),
    ) {
        let mut play = Play::new(automatic);
        for happening in happenings {
            play.happens(happening);
        }
        play.ends();
    }
}

struct Play {
    topology: Topology,
    settings: Settings,
    ledger: Ledger,
    writing: Option<Arc<StoredTopology>>,
    medium: StoredTopology,
    now: Timestamp,
    requests: u64,
    /// Who waits, and for which generation at least, if one was under way.
    waiting: BTreeMap<RequestId, u64>,
}

impl Play {
    fn new(automatic: bool) -> Self {
        let wanted = Wanted { partitions: 2, replicas: 2, paused: false, promote_lapsed: true };
        let mode = if automatic { Mode::Automatic(wanted) } else { Mode::Manual };
        let settings = Settings { mode, nodes_max: usize::from(NODES) - 1, zero_unix_millis: 0 };
        let hash = HashSettings { partition_size: 4, ..HashSettings::default() };
        let medium = StoredTopology::empty(hash);
        Self {
            topology: Topology::new(medium.clone(), settings.clone()),
            settings,
            ledger: Ledger::default(),
            writing: None,
            medium,
            now: Timestamp(0),
            requests: 0,
            waiting: BTreeMap::new(),
        }
    }

    fn automatic(&self) -> bool {
        self.settings.mode != Mode::Manual
    }

    fn happens(&mut self, [kind, node, a, b, c]: Happening) {
        let node = NodeKey::new("h", i32::from(node % NODES));
        let origin = [Origin::Node, Origin::Node, Origin::Admin, Origin::Outsider];
        let origin = origin[usize::from(c % 4)];
        self.now = self.now.plus_millis(u64::from(c));
        let state = [State::Active, State::Ready, State::Down, State::Prepare];
        match kind % 25 {
            0 | 1 => self.ask(|request| Input::Register { request, node, origin }),
            2 | 3 => {
                let role = [Role::Master, Role::Slave, Role::Proxy][usize::from(a % 3)];
                let (balance, partition) = (i32::from(b % 4) - 1, i32::from(b / 4 % 5) - 1);
                self.ask(|request| Input::SetRole {
                    request,
                    node,
                    role,
                    balance,
                    partition,
                    origin,
                });
            }
            4 | 5 => {
                let state = state[usize::from(a % 4)];
                self.ask(|request| Input::SetState { request, node, state, origin });
            }
            6 => self.ask(|request| Input::Remove { request, node, origin }),
            7 => self.ask(|request| Input::Shutdown { request, node, origin }),
            8 => {
                let (seen, reason) = (self.seen(a, b), DownReason::Silent);
                self.input(Input::MarkDown { node, seen, reason });
            }
            9 => {
                let seen = self.seen(a, b);
                self.input(Input::Return { node, seen });
            }
            10 => self.input(Input::LinkOpened { node }),
            11 => self.input(Input::LinkEnded { node }),
            12 => {
                let version = self.version(a);
                self.input(Input::Acknowledged { node, version });
            }
            13 | 14 => {
                let observation = Observation {
                    incarnation: incarnation(b),
                    version: self.version(a),
                    items: u64::from(c % 3),
                    copying: b.is_multiple_of(8),
                };
                self.input(Input::Observed { node, observation });
            }
            15 => {
                let stored = self.topology.snapshot().node(&node);
                let intent = stored.and_then(|stored| stored.empty_intent);
                let intent = intent.unwrap_or(u64::from(b));
                self.input(Input::Emptied { node, intent, ok: !a.is_multiple_of(4) });
            }
            16 | 17 => self.store(a),
            18 if a.is_multiple_of(4) => self.restart(b),
            18 => self.want(a, b),
            19 => {
                let leaves = !a.is_multiple_of(4);
                self.ask(|request| Input::PrepareToLeave { request, node, leaves, origin });
            }
            20..=23 => self.moves(kind % 4, node, [a, b, c]),
            _ => self.input(Input::WakeDue),
        }
    }

    /// Planned swaps, and what is said about them, asked for or not.
    fn moves(&mut self, kind: u8, node: NodeKey, [a, b, c]: [u8; 3]) {
        match kind {
            0 => {
                let way = if a.is_multiple_of(2) { HandoverWay::Park } else { HandoverWay::Pause };
                let how = HandoverHow { way, end_clients: b.is_multiple_of(2) };
                let to = Some(node).filter(|_| c.is_multiple_of(2));
                let (partition, origin) = (i32::from(b % 4) - 1, Origin::Admin);
                self.ask(|request| Input::Switchover { request, partition, to, how, origin });
            }
            1 if a.is_multiple_of(2) => self.input(Input::ClientsEnded { node }),
            1 => {
                let relay = NodeKey::new("relay", i32::from(b % 2));
                self.input(Input::RelayOpened { relay: Some(relay).filter(|_| c % 4 > 0) });
            }
            2 => self.input(Input::QueueDrained { node, towards: 16 + u32::from(a % 8) }),
            _ => match a % 8 {
                0 => self.input(Input::RelayEnded),
                1 => self.input(Input::BreakerChanged { open: true, assigned: 4, dead: 2 }),
                2 => self.input(Input::BreakerChanged { open: false, assigned: 4, dead: 0 }),
                _ => {
                    let nodes = (b % 3 > 0).then_some(node).into_iter().collect();
                    self.input(Input::LeavingListed { nodes });
                }
            },
        }
    }

    fn want(&mut self, a: u8, b: u8) {
        let wanted = Wanted {
            partitions: u32::from(a % 5),
            replicas: u32::from(b % 4),
            paused: a.is_multiple_of(7),
            promote_lapsed: !b.is_multiple_of(5),
        };
        if self.automatic() {
            self.settings.mode = Mode::Automatic(wanted);
        }
        self.input(Input::WantedChanged { wanted });
    }

    fn version(&self, choice: u8) -> u64 {
        let version = self.topology.snapshot().version();
        match choice % 8 {
            0 => version.saturating_sub(u64::from(choice / 8)),
            1 => version + u64::from(choice / 8),
            2 => u64::MAX - u64::from(choice),
            _ => version,
        }
    }

    fn seen(&self, a: u8, b: u8) -> Seen {
        let incarnation = (!b.is_multiple_of(3)).then(|| incarnation(b));
        Seen { version: self.version(a), incarnation }
    }

    fn ask(&mut self, input: impl FnOnce(RequestId) -> Input) {
        self.requests += 1;
        let request = RequestId(self.requests);
        self.waiting.insert(request, 0);
        let refused = self.try_input(input(request)).is_some();
        let under_way = self.writing.as_ref().map_or(0, |state| state.generation);
        if refused {
            assert!(self.waiting.remove(&request).is_some(), "refused and answered");
        } else if let Some(least) = self.waiting.get_mut(&request) {
            *least = under_way;
        }
    }

    fn input(&mut self, input: Input) {
        let _refusal_that_nobody_waits_for = self.try_input(input);
    }

    fn try_input(&mut self, input: Input) -> Option<Refusal> {
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
            match effect {
                Effect::Publish(snapshot) | Effect::Push { snapshot, .. } => {
                    self.ledger.tells(snapshot.stored());
                }
                Effect::Reply { request, answer } => self.answered(request, &answer),
                Effect::Empty { node, intent, incarnation } => {
                    assert!(self.automatic(), "nobody is emptied in manual mode");
                    let stored = self.topology.snapshot().node(&node).expect("a known node");
                    assert_eq!(
                        (stored.entry.role, stored.entry.state),
                        (Role::Proxy, State::Active)
                    );
                    assert_eq!(stored.empty_intent, Some(intent), "first stored, then emptied");
                    let known = self.topology.facts(&node).and_then(|facts| facts.incarnation());
                    assert_eq!(known, Some(incarnation), "only a process that is known");
                }
                Effect::Happened(event) => {
                    assert!(!matches!(event, Event::InvariantBroken { .. }), "{event:?}");
                }
                _ => {}
            }
        }
        if let Some(wanted) = step.persist {
            assert!(self.writing.is_none(), "one write at a time");
            self.ledger.tries(&wanted, self.automatic());
            self.writing = Some(wanted);
        }
    }

    fn answered(&mut self, request: RequestId, answer: &Answer) {
        let least = self.waiting.remove(&request).expect("answered once");
        if let Answer::Registered(snapshot) = answer {
            self.ledger.tells(snapshot.stored());
        }
        if !matches!(answer, Answer::Refused(_)) {
            assert!(self.medium.generation >= least, "answered before it was stored (R4)");
        }
    }

    fn store(&mut self, choice: u8) {
        let Some(state) = self.writing.take() else { return };
        let generation = state.generation;
        let failure = match choice % 16 {
            0 => StoreFailure::Conflict,
            1..=4 => StoreFailure::Unwritable("no space left on device".into()),
            _ => {
                self.medium = StoredTopology::clone(&state);
                self.ledger.stores(&self.medium);
                return self.input(Input::Stored { generation });
            }
        };
        self.input(Input::StoreFailed { generation, failure });
    }

    fn restart(&mut self, choice: u8) {
        if let Some(state) = self.writing.take()
            && choice.is_multiple_of(2)
        {
            self.medium = StoredTopology::clone(&state);
            self.ledger.stores(&self.medium);
        }
        self.ledger.restarts();
        self.waiting.clear();
        self.topology = Topology::new(self.medium.clone(), self.settings.clone());
    }

    /// In the end nobody waits any more.
    fn ends(&mut self) {
        while self.writing.is_some() {
            self.store(255);
        }
        self.now = self.now.plus_millis(3_600_000);
        self.input(Input::WakeDue);
        while self.writing.is_some() {
            self.store(255);
        }
        self.now = self.now.plus_millis(3_600_000);
        self.input(Input::WakeDue);
        assert!(self.waiting.is_empty(), "never answered: {:?}", self.waiting);
    }
}

fn incarnation(choice: u8) -> Incarnation {
    Incarnation { started: i64::from(choice % 3) * 10, pid: 1 }
}
