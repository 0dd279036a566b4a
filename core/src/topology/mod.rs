//! The topology of one cluster: the node map, how it changes and what follows from a change.
//!
//! One entrance, [`Topology::handle`]. It works on the *proposed* state; what a step persists
//! becomes the *committed* state when [`Input::Stored`] comes back, and only then are its effects
//! released (R4). `transitions` holds flarei's rules, `automatic` what differs in automatic mode
//! and `drafts` its changes of a map, `registration` what `node add` means, `batch` the group
//! commit, `facts` and `observe` what nodes told, `connections` and `successors` what they need
//! among each other; roles are given by `policy`.

pub mod api;
mod automatic;
mod batch;
mod connections;
mod copiers;
mod drafts;
mod drain;
mod facts;
mod handover;
mod lapses;
mod leaving;
pub mod leftovers;
mod observe;
mod push;
mod recovery;
mod registration;
mod snapshot;
pub mod stuck;
mod successors;
mod transitions;
mod wake;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub use api::*;
pub use batch::STORE_RETRY_MILLIS;
pub use connections::{ConnectingHow, ConnectingRequest};
pub use drain::DRAIN_WAIT_MILLIS;
pub use facts::{Facts, PROBE_INTERVAL_MILLIS, RETRY_PAUSE_MILLIS, RETRY_PAUSE_MILLIS_MAX};
pub use handover::{
    CLIENTS_MILLIS_MAX, HOLDING_MILLIS_MAX, RELEASING_MILLIS_MAX, SWITCHING_MILLIS_MAX,
};
pub use leaving::{HANDOVER_RETRY_MILLIS, LEAVE_MILLIS_MAX, LEAVERS_MAX, may_stop};
pub use observe::VERSION_JUMP_MAX;
pub use push::{FIRST_PUSH_WAIT_MILLIS, LAST_PUSH_WAIT_MILLIS};
pub use registration::{HELD_REGISTRATION_MILLIS, HELD_REGISTRATIONS_MAX};
pub use snapshot::Snapshot;

use crate::invariant;
use crate::model::{NodeKey, Timestamp};
use crate::stored::StoredTopology;
use crate::zones::Zones;
use batch::{Batch, Writing};
use drafts::remember_holdings;
use push::StagedPush;
use transitions::{Change, Outcome, prepares};

pub(crate) use successors::other_slaves;
pub(crate) use transitions::active_partitions;

/// The node map of one cluster; decides, never waits.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Topology {
    settings: Settings,
    /// The committed map.
    snapshot: Arc<Snapshot>,
    /// The state with all changes that were accepted; equal to the committed one when no write
    /// is under way and none waits.
    proposed: StoredTopology,
    /// The highest version that was ever tried to be stored.
    version_floor: u64,
    last_generation: u64,
    writing: Option<Writing>,
    gathered: Batch,
    staged_push: Option<StagedPush>,
    /// Nodes that are to copy, and are not told so before their sources know.
    held_copiers: BTreeSet<NodeKey>,
    handover: Option<handover::Running>,
    /// What is still on its way to nodes that are to get a role.
    drains: BTreeMap<NodeKey, drain::Drain>,
    facts: BTreeMap<NodeKey, Facts>,
    blocked: BTreeSet<Blocked>,
    /// Nodes that show a version too far above ours, and which.
    jumps: BTreeMap<NodeKey, u64>,
    held: Vec<registration::HeldRegistration>,
    leavers: Vec<leaving::Leaver>,
    /// The nodes that the manifest has leave.
    listed_to_leave: BTreeSet<NodeKey>,
    zones: Zones,
    /// Nothing is changed by itself before this moment: the last try failed.
    pause_until: Option<Timestamp>,
    store_fails: bool,
    /// The wanted shape is reached: what nodes tell cannot make the policy act.
    settled: bool,
    /// Does a decision wait for what a node shows?
    probing: bool,
    /// When the policy wants to look again.
    look_at: Option<Timestamp>,
    /// Was anything learned that could matter, since the policy last looked?
    news: bool,
    /// Does any node of the proposed state prepare?
    preparing: bool,
    wake_told: Option<Timestamp>,
    /// Nothing came in yet since the start.
    just_started: bool,
    stood_down: bool,
}

impl Topology {
    /// Goes on from what was stored.
    pub fn new(stored: StoredTopology, settings: Settings) -> Self {
        let version = stored.version;
        let preparing = prepares(&stored);
        let facts = stored.nodes.keys().map(|key| (key.clone(), Facts::unheard(version))).collect();
        let held_copiers = copiers::unheard(&stored, settings.mode);
        Self {
            settings,
            snapshot: Arc::new(Snapshot::new(Arc::new(stored.clone()))),
            version_floor: version,
            last_generation: stored.generation,
            proposed: stored,
            writing: None,
            gathered: Batch::default(),
            staged_push: None,
            held_copiers,
            handover: None,
            drains: BTreeMap::new(),
            facts,
            blocked: BTreeSet::new(),
            jumps: BTreeMap::new(),
            held: Vec::new(),
            leavers: Vec::new(),
            listed_to_leave: BTreeSet::new(),
            zones: Zones::default(),
            pause_until: None,
            store_fails: false,
            settled: false,
            probing: false,
            look_at: None,
            news: true,
            preparing,
            wake_told: None,
            just_started: true,
            stood_down: false,
        }
    }

    /// Takes one input in and says what is to be done.
    ///
    /// # Errors
    /// The refusal is for whoever sent the input; nothing has changed then. A
    /// [`Refusal::Invariant`] is a bug of ours: the old map stays, and a person must be told.
    pub fn handle(&mut self, input: Input, now: Timestamp) -> Result<Step, Refusal> {
        if self.stood_down && !input.is_from_store() {
            return Err(Refusal::StoodDown);
        }
        let mut step = Step::default();
        if std::mem::take(&mut self.just_started) {
            self.resume_push(now, &mut step);
        }
        let only_tells = input.only_tells();
        self.take_in(input, now, &mut step)?;
        if self.stood_down {
            return Ok(step);
        }
        self.advance_push(now, &mut step);
        self.tell_copiers(now, &mut step);
        self.resolve_held(now, &mut step);
        self.advance_handover(now, &mut step);
        // A thousand nodes tell for each map, mostly what changes nothing.
        let news = std::mem::take(&mut self.news) || !only_tells;
        if let Mode::Automatic(wanted) = self.settings.mode
            && news
            && !(self.settled && only_tells)
            && self.handover.is_none()
        {
            self.carry_out_policy(wanted, now, &mut step);
        }
        self.answer_leavers(now, &mut step);
        if news {
            self.note_version_jumps(&mut step);
        }
        self.try_store_again(now);
        self.begin_write(now, &mut step);
        if news || step.persist.is_some() {
            self.tell_wake(now, &mut step);
        }
        Ok(step)
    }

    fn take_in(&mut self, input: Input, now: Timestamp, step: &mut Step) -> Result<(), Refusal> {
        match input {
            Input::Register { request, node, origin } => {
                self.register(request, node, origin, now, step)
            }
            Input::SetRole { request, node, role, balance, partition, origin } => {
                self.may_set_role(&node, role, origin)?;
                let preparing = self.is_preparing(&node);
                self.change(request, step, |draft| {
                    transitions::set_role(draft, &node, role, balance, partition)
                })?;
                if let Some(facts) = self.facts.get_mut(&node).filter(|_| preparing) {
                    facts.failed(now);
                }
                Ok(())
            }
            Input::SetState { request, node, state, origin } => {
                self.may_set_state(&node, state, origin)?;
                self.set_state(request, &node, state, step)
            }
            Input::Remove { request, node, origin } => {
                self.may_remove(&node, origin)?;
                self.change(request, step, |draft| transitions::remove(draft, &node))
            }
            Input::Shutdown { request, node, origin } => {
                self.may_report(origin)?;
                self.shutdown(request, &node, now, step)
            }
            Input::MarkDown { node, seen, reason } => {
                self.is_current(&node, &seen)?;
                self.mark_down(&node, reason, now, step)
            }
            Input::Return { node, seen } => self.give_back(&node, &seen),
            Input::Lapsed { node, seen, silent_millis } => {
                self.lapsed(&node, &seen, silent_millis, now)
            }
            Input::BreakerChanged { open, assigned, dead } => {
                self.breaker_changed(open, assigned, dead);
                Ok(())
            }
            Input::Switchover { request, partition, to, how, origin } => {
                self.switchover(request, partition, to, (how, origin), now, step)
            }
            Input::ClientsEnded { node } => self.clients_ended(&node, now, step),
            Input::Recover { request, partition, from, origin } => {
                self.recover((request, partition), &from, origin, step)
            }
            Input::RelayOpened { relay } => self.relay_opened(relay, now, step),
            Input::RelayReached => self.relay_reached(),
            Input::RelayEnded => self.relay_ended(),
            Input::Introduced { node } => self.introduced(&node),
            Input::PrepareToLeave { request, node, leaves, origin } => {
                self.prepare_to_leave(request, node, (leaves, origin), now, step)
            }
            Input::WantedChanged { wanted } => {
                self.wanted_changed(wanted, step);
                Ok(())
            }
            Input::Stored { generation } => {
                self.stored(generation, now, step);
                Ok(())
            }
            Input::StoreFailed { generation, failure } => {
                self.store_failed(generation, failure, now, step);
                Ok(())
            }
            fact => {
                self.learn(fact, now, step);
                Ok(())
            }
        }
    }

    /// The committed map.
    pub fn snapshot(&self) -> &Arc<Snapshot> {
        &self.snapshot
    }

    /// What stands in the way of the wanted shape.
    pub fn blocked(&self) -> &BTreeSet<Blocked> {
        &self.blocked
    }

    /// What is known of a node beside its entry.
    pub fn facts(&self, node: &NodeKey) -> Option<&Facts> {
        self.facts.get(node)
    }

    /// Who decides about roles.
    pub fn mode(&self) -> Mode {
        self.settings.mode
    }

    /// Has another index taken over (R4)?
    pub fn has_stood_down(&self) -> bool {
        self.stood_down
    }

    /// Makes a change that somebody asked for, and has the answer wait for the store.
    fn change(
        &mut self,
        request: RequestId,
        step: &mut Step,
        transition: impl FnOnce(&mut StoredTopology) -> Outcome,
    ) -> Result<(), Refusal> {
        let mut draft = self.proposed.clone();
        if let Some(change) = transition(&mut draft)? {
            self.accept(draft, change)?;
        }
        self.answer_when_stored((request, false), step);
        Ok(())
    }

    /// Makes a draft the proposed state: the version grows, the rules are checked, what follows
    /// waits for the store.
    fn accept(&mut self, mut draft: StoredTopology, change: Change) -> Result<(), Refusal> {
        remember_holdings(&self.proposed, &mut draft);
        let used = draft.version.max(self.version_floor).max(self.proposed.version);
        draft.version = used.checked_add(1).ok_or(Refusal::Limit("versions"))?;
        self.check(&draft)?;
        self.settled = false;
        let version = draft.version;
        self.version_floor = version;
        for (key, node) in &draft.nodes {
            let old = self.proposed.nodes.get(key).map(|old| old.entry);
            if old == Some(node.entry) {
                continue;
            }
            let facts = self.facts.entry(key.clone()).or_default();
            facts.changed_version = version;
            if let Some(old) = &old {
                facts.gives_copy_up(old, &node.entry);
            }
            facts.zone = self.zones.of(key).cloned();
            if old.map(|old| (old.role, old.partition))
                != Some((node.entry.role, node.entry.partition))
            {
                facts.role_version = version;
                facts.quiet = 0;
                facts.watch.begins_anew();
                facts.drained = false;
                self.drains.remove(key);
            }
            self.gathered.events.push(Event::NodeChanged {
                node: key.clone(),
                from: old,
                to: Some(node.entry),
                why: change.why_of(key),
                version,
            });
        }
        let gone = self.proposed.nodes.iter().filter(|(key, _)| !draft.nodes.contains_key(*key));
        for (key, node) in gone {
            self.gathered.removed.push(key.clone());
            self.gathered.events.push(Event::NodeChanged {
                node: key.clone(),
                from: Some(node.entry),
                to: None,
                why: change.why.clone(),
                version,
            });
        }
        self.preparing = prepares(&draft);
        self.news = true;
        self.proposed = draft;
        self.gathered.pending = true;
        self.gathered.map_changed = true;
        self.gathered.first.extend(change.first);
        self.gathered.last.extend(change.last);
        self.gathered.left_out.extend(change.left_out);
        Ok(())
    }

    /// Refuses what breaks a rule; in manual mode R2 and R8 only warn (R15).
    fn check(&mut self, draft: &StoredTopology) -> Result<(), Refusal> {
        let broken = invariant::broken_by(&self.proposed, draft);
        let manual = self.settings.mode == Mode::Manual;
        let (warned, refused): (Vec<_>, Vec<_>) = broken.into_iter().partition(|violation| {
            let tolerable = [invariant::Rule::MapIsAccepted, invariant::Rule::OneRoleChange];
            manual && tolerable.contains(&violation.rule)
        });
        if !refused.is_empty() {
            let all: Vec<String> = refused.iter().map(ToString::to_string).collect();
            return Err(Refusal::Invariant(all.join("; ")));
        }
        let warnings = warned.iter().map(|violation| Event::Warned { what: violation.to_string() });
        self.gathered.events.extend(warnings);
        Ok(())
    }

    /// Stores something that nodes are not told: the version stays.
    fn record(&mut self, edit: impl FnOnce(&mut StoredTopology)) {
        edit(&mut self.proposed);
        self.gathered.pending = true;
    }

    fn is_preparing(&self, node: &NodeKey) -> bool {
        self.proposed.nodes.get(node).is_some_and(|node| node.entry.state.is_preparing())
    }
}
