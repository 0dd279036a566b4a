//! Group commit: changes gather while a write is under way, and are released by the store's word.
//!
//! A batch holds what waits for one generation: events, answers, who is to be told first.

use std::sync::Arc;

use crate::model::{NodeKey, Role, State, Timestamp};
use crate::policy::assignment::View;
use crate::policy::emptying;
use crate::policy::shape::Shape;
use crate::stored::{StoredTelling, StoredTopology};
use crate::topology::push::Told;
use crate::topology::transitions::prepares;
use crate::topology::{
    Answer, Effect, Event, Facts, Input, Mode, Refusal, RequestId, Snapshot, Step, StoreFailure,
    Topology,
};

/// The pause after a failed write before automatic changes are tried again.
pub const STORE_RETRY_MILLIS: u64 = 1_000;

/// What waits for a generation to be stored.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(super) struct Batch {
    /// Does it hold anything to store?
    pub(super) pending: bool,
    /// Did the map change, so that nodes are to be told?
    pub(super) map_changed: bool,
    pub(super) events: Vec<Event>,
    /// Who asked; `true`: wants the whole map as the answer.
    pub(super) asked: Vec<(RequestId, bool)>,
    pub(super) first: Vec<NodeKey>,
    pub(super) left_out: Vec<NodeKey>,
    pub(super) last: Vec<NodeKey>,
    /// Nodes that are forgotten, unless they registered again within the same write.
    pub(super) removed: Vec<NodeKey>,
    /// Nodes to be emptied, once the intent is stored.
    pub(super) empty: Vec<(NodeKey, u64)>,
}

/// A write under way.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Writing {
    state: Arc<StoredTopology>,
    batch: Batch,
}

impl Writing {
    pub(super) fn keeps_some_for_last(&self) -> bool {
        !self.batch.last.is_empty()
    }
}

impl Topology {
    /// Starts the next write when none is under way and something waits.
    pub(super) fn begin_write(&mut self, now: Timestamp, step: &mut Step) {
        if self.writing.is_some() || !self.gathered.pending {
            return;
        }
        self.date_lapses(now);
        self.last_generation += 1;
        self.proposed.generation = self.last_generation;
        if self.gathered.map_changed {
            let (first, last) = (self.gathered.first.clone(), self.gathered.last.clone());
            let ordered = !first.is_empty() || !last.is_empty();
            self.proposed.telling = ordered.then_some(StoredTelling { first, last });
        }
        let state = Arc::new(self.proposed.clone());
        step.persist = Some(Arc::clone(&state));
        self.writing = Some(Writing { state, batch: std::mem::take(&mut self.gathered) });
    }

    /// The store holds the generation: it is committed, and its effects are released (R4).
    pub(super) fn stored(&mut self, generation: u64, now: Timestamp, step: &mut Step) {
        let Some(Writing { state, batch }) =
            self.writing.take_if(|writing| writing.state.generation == generation)
        else {
            return;
        };
        self.news = true;
        self.snapshot = Arc::new(Snapshot::new(state));
        if std::mem::take(&mut self.store_fails) {
            self.follow_leaving_list();
        }
        step.effects.push(Effect::Publish(Arc::clone(&self.snapshot)));
        step.effects.extend(batch.events.into_iter().map(Effect::Happened));
        self.forget(batch.removed);
        if batch.map_changed {
            self.expect_acknowledgements(now);
        }
        self.empty(&batch.empty, now, step);
        if batch.first.is_empty() {
            self.answer(&batch.asked, step);
            if batch.map_changed {
                self.push_behind(batch.left_out, now, step);
            }
            return;
        }
        let told = Told { first: batch.first, left_out: batch.left_out, last: batch.last };
        self.stage_push(told, batch.asked, now, step);
    }

    /// From now on everybody is to take the committed map in.
    fn expect_acknowledgements(&mut self, now: Timestamp) {
        let version = self.snapshot.version();
        for (key, node) in &self.snapshot.stored().nodes {
            let waits = self.is_ahead_of_source(key);
            if let Some(facts) = self.facts.get_mut(key).filter(|_| !waits)
                && node.entry.state != State::Down
                && facts.acked < version
            {
                facts.watch.is_told(version, now);
            }
        }
    }

    /// Answers an asker once everything that is proposed at this moment is stored (R4): also one
    /// for whom nothing was left to do, because an earlier change that is not stored yet did it.
    pub(super) fn answer_when_stored(&mut self, asked: (RequestId, bool), step: &mut Step) {
        if self.gathered.pending {
            self.gathered.asked.push(asked);
        } else if let Some(writing) = &mut self.writing {
            writing.batch.asked.push(asked);
        } else {
            self.answer(&[asked], step);
        }
    }

    pub(super) fn answer(&self, asked: &[(RequestId, bool)], step: &mut Step) {
        for (request, wants_map) in asked {
            let answer = match wants_map {
                true => Answer::Registered(Arc::clone(&self.snapshot)),
                false => Answer::Done,
            };
            step.effects.push(Effect::Reply { request: *request, answer });
        }
    }

    /// Nothing since the committed map has happened: everybody who waited is refused.
    pub(super) fn store_failed(
        &mut self,
        generation: u64,
        failure: StoreFailure,
        now: Timestamp,
        step: &mut Step,
    ) {
        let Some(writing) = self.writing.take_if(|writing| writing.state.generation == generation)
        else {
            return;
        };
        // The write may have reached the medium all the same: its numbers are not used again
        // (R3); `version_floor` sees to the version.
        let used = (self.proposed.next_thread_type, self.proposed.next_intent);
        let breaker_open = self.proposed.breaker_open;
        self.proposed = self.snapshot.stored().clone();
        (self.proposed.next_thread_type, self.proposed.next_intent) = used;
        // The breaker's word counts, stored or not (R11): it is given once.
        self.proposed.breaker_open = breaker_open;
        self.preparing = prepares(&self.proposed);
        let gathered = std::mem::take(&mut self.gathered);
        let mut events = writing.batch.events;
        events.extend(gathered.events);
        events.retain(|event| matches!(event, Event::BreakerChanged { .. }));
        self.gathered.events = events;
        let refusal = match &failure {
            StoreFailure::Conflict => Refusal::StoodDown,
            StoreFailure::Unwritable(_) => Refusal::Store(failure.clone()),
        };
        for (request, _) in writing.batch.asked.into_iter().chain(gathered.asked) {
            let answer = Answer::Refused(refusal.clone());
            step.effects.push(Effect::Reply { request, answer });
        }
        if failure == StoreFailure::Conflict {
            self.stand_down(step);
        }
        for (node, _) in writing.batch.empty.into_iter().chain(gathered.empty) {
            if let Some(facts) = self.facts.get_mut(&node) {
                facts.emptying = None;
            }
        }
        self.abandon_handover(&refusal, now, step);
        self.refuse_leavers(&refusal, step);
        self.facts.retain(|key, _| self.proposed.nodes.contains_key(key));
        let committed = self.proposed.version;
        for facts in self.facts.values_mut() {
            facts.changed_version = facts.changed_version.min(committed);
            facts.role_version = facts.role_version.min(committed);
        }
        self.remember_first_processes();
        self.store_fails = failure != StoreFailure::Conflict;
        self.pause_until = Some(now.plus_millis(STORE_RETRY_MILLIS));
        step.effects.push(Effect::Happened(Event::StoreFailed { failure }));
    }

    /// A store that failed is tried again when the pause is over, also when nothing else is to be
    /// stored: so it is known when it can be written again, and the breaker's word gets there.
    pub(super) fn try_store_again(&mut self, now: Timestamp) {
        if self.store_fails && self.writing.is_none() && !self.is_pausing(now) {
            self.gathered.pending = true;
        }
    }

    /// Was a write or a rule broken so recently that nothing is done by itself?
    pub(super) fn is_pausing(&self, now: Timestamp) -> bool {
        self.pause_until.is_some_and(|until| now < until)
    }

    /// A failed write may have been the one to remember which process a node is. Without it a later
    /// restart of the node would not be seen as one. (A process that replaced a known one is seen
    /// again, as the restart that it is, when it shows itself next.)
    fn remember_first_processes(&mut self) {
        for (key, facts) in &self.facts {
            if let Some(node) = self.proposed.nodes.get_mut(key) {
                node.incarnation = node.incarnation.or(facts.incarnation());
            }
        }
    }

    /// Another index decides from now on: whoever waits is told so, or that it was done.
    fn stand_down(&mut self, step: &mut Step) {
        self.stood_down = true;
        if let Some(pending) = self.staged_push.take() {
            self.answer(&pending.asked, step);
        }
        self.refuse_all_held(&Refusal::StoodDown, step);
    }

    /// Facts of nodes that the committed map no longer has: their links end with its publication.
    fn forget(&mut self, removed: Vec<NodeKey>) {
        for key in removed {
            if self.snapshot.node(&key).is_some() {
                continue;
            }
            match self.facts.get_mut(&key).filter(|_| self.proposed.nodes.contains_key(&key)) {
                Some(facts) => {
                    facts.link_ended();
                    facts.heard = false;
                }
                None => drop(self.facts.remove(&key)),
            }
        }
    }

    /// Sends `flush_all` for stored intents that are still planned; never a second time beside one
    /// that is under way. What made it right to empty the nodes may have changed
    /// while the intents were stored, so it is looked at again (R6).
    pub(super) fn empty(&mut self, intents: &[(NodeKey, u64)], now: Timestamp, step: &mut Step) {
        let Mode::Automatic(wanted) = self.settings.mode else { return };
        if intents.is_empty() {
            return;
        }
        let shape = Shape::of(&self.proposed);
        for (node, intent) in intents {
            let view = View { stored: &self.proposed, facts: &self.facts, wanted, now };
            let may = emptying::may_empty(&view, &shape, node).is_ok();
            let stored = self.snapshot.node(node);
            let intended = stored.is_some_and(|stored| {
                let free = stored.entry.role == Role::Proxy && stored.entry.state == State::Active;
                free && stored.empty_intent == Some(*intent)
            });
            let planned = |facts: &&mut Facts| facts.emptying == Some(*intent);
            let Some(facts) = self.facts.get_mut(node).filter(planned) else { continue };
            facts.emptying = None;
            if let Some(incarnation) = facts.incarnation().filter(|_| may && intended) {
                facts.emptying = Some(*intent);
                let (node, intent) = (node.clone(), *intent);
                step.effects.push(Effect::Empty { node, intent, incarnation });
            }
        }
    }
}

impl Input {
    /// Does it come from the store?
    pub(super) fn is_from_store(&self) -> bool {
        matches!(self, Self::Stored { .. } | Self::StoreFailed { .. })
    }
}
