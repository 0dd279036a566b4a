//! Facts: what links tell of nodes, and what follows from it at once.
//!
//! A node that shows a higher version than ours makes us go above it (R3); another process under
//! a known name is a restart (R13).

use std::collections::BTreeSet;

use crate::model::{NodeKey, Role, State, Timestamp};
use crate::topology::registration::OldProcess;
use crate::topology::transitions::Change;
use crate::topology::{
    Blocked, DownReason, Effect, Event, Input, Mode, Observation, RETRY_PAUSE_MILLIS, Step,
    Topology,
};
use crate::wanted::Wanted;
use crate::zones::Zones;

/// A node may show a version this far above ours, and we go above it; more is refused, so that a
/// lying node cannot use the numbers up (R3).
pub const VERSION_JUMP_MAX: u64 = 1_000_000;

impl Topology {
    /// Takes a fact in; facts about nodes that are not in the map are late and mean nothing.
    pub(super) fn learn(&mut self, fact: Input, now: Timestamp, step: &mut Step) {
        match fact {
            Input::LinkOpened { node } => {
                if let Some(facts) = self.facts.get_mut(&node) {
                    facts.linked = true;
                    facts.linked_since = now;
                    facts.heard = true;
                    self.settled = false;
                }
            }
            Input::LeavingListed { nodes } => self.leaving_listed(nodes),
            Input::ZonesTold { zones } => self.zones_told(zones),
            Input::Suspected { node, suspected } => {
                if let Some(facts) = self.facts.get_mut(&node) {
                    facts.suspected = suspected;
                    // What nobody may take over can be taken over now.
                    self.news |= !suspected;
                }
            }
            Input::LinkEnded { node } => {
                if let Some(facts) = self.facts.get_mut(&node) {
                    self.settled = false;
                    facts.link_ended();
                }
                self.settle_held(&node, OldProcess::Gone, now, step);
            }
            Input::Acknowledged { node, version } => {
                if let Some(facts) = self.facts.get_mut(&node) {
                    let knew = facts.knows_its_role();
                    facts.acked = facts.acked.max(version);
                    self.news |= knew != facts.knows_its_role();
                }
                self.took_map_in(&node, version, now, step);
            }
            Input::QueueDrained { node, towards } => {
                self.queue_drained(&node, towards);
                self.push_drained(&node, towards, now, step);
                self.drained(&node, towards);
            }
            Input::Connected { node, towards, missing } => {
                self.connected(&node, &towards, &missing, (now, step));
            }
            Input::ConnectionsShown { node, towards } => {
                if let Some(facts) = self.facts.get_mut(&node) {
                    facts.shows_connected = towards;
                }
            }
            Input::Observed { node, observation } => self.observed(&node, observation, now, step),
            Input::Emptied { node, intent, ok } => self.emptied(&node, intent, ok, now, step),
            // Woken: all that is due is done after every input. The others are not facts.
            _ => {}
        }
    }

    fn observed(&mut self, node: &NodeKey, shown: Observation, now: Timestamp, step: &mut Step) {
        let Some(stored) = self.proposed.nodes.get(node) else { return };
        let (entry, known) = (stored.entry, stored.incarnation);
        let same = known.is_some_and(|known| known.is_same(&shown.incarnation));
        let automatic = matches!(self.settings.mode, Mode::Automatic(_));
        if !same {
            let replaced = known.is_some();
            if let Some(facts) = self.facts.get_mut(node).filter(|_| replaced) {
                // Known already when the write that was to remember it failed.
                if facts.incarnation().is_none_or(|seen| !seen.is_same(&shown.incarnation)) {
                    facts.process_ended();
                }
            }
            self.record(|draft| {
                if let Some(stored) = draft.nodes.get_mut(node) {
                    stored.incarnation = Some(shown.incarnation);
                }
            });
            let lives = entry.state != State::Down || self.is_paused(node);
            let has_role = entry.role != Role::Proxy && lives;
            if replaced
                && automatic
                && has_role
                && let Err(refusal) = self.take_down(node, DownReason::Restarted, now, step)
            {
                let order = format!("take {node} down, which was restarted");
                step.effects.push(Effect::Happened(Event::OrderRefused { order, refusal }));
            }
        }
        let version = self.go_above(node, shown.version, step);
        if let Some(facts) = self.facts.get_mut(node) {
            let knew = facts.gist();
            facts.acked = version;
            facts.watch.shows(shown.copying, shown.items, now);
            facts.observed = Some(shown);
            facts.showed_empty = (shown.items == 0).then_some(self.proposed.version);
            facts.observed_at = Some(now);
            self.news |= self.preparing || knew != facts.gist();
            if facts.knows_its_role() && entry.state.is_preparing() {
                facts.note_copying(shown.copying, now);
            }
        }
        let old = if same || known.is_none() { OldProcess::Alive } else { OldProcess::Gone };
        self.settle_held(node, old, now, step);
        self.took_map_in(node, version, now, step);
    }

    /// A node works by the map of this version, as it said or showed: whoever waits for that goes
    /// on (R10), once the node has the connections that it needs for it.
    pub(super) fn took_map_in(
        &mut self,
        node: &NodeKey,
        version: u64,
        now: Timestamp,
        step: &mut Step,
    ) {
        let newest = self.snapshot.version();
        // One that is to get a role waits until it knows whose.
        self.news |= self.proposed.nodes.get(node).is_some_and(|node| node.empty_intent.is_some());
        if let Some(facts) = self.facts.get_mut(node)
            && facts.watch.took_in(version, newest, now)
        {
            self.settled = false;
            self.news = true;
        }
        if version >= newest {
            if !self.has_connections(node, step) {
                return;
            }
            if self.is_preparing(node) {
                self.forget_keys(step);
                self.free_stuck_writers(node, step);
            }
        }
        self.push_acknowledged(node, version, now, step);
        self.handover_acknowledged(node, version, now, step);
        self.watch_drains(step);
    }

    /// Goes above a version that a node shows (R3). Returns what its showing counts for as an
    /// acknowledgement of ours.
    fn go_above(&mut self, node: &NodeKey, shown: u64, step: &mut Step) -> u64 {
        self.news |= self.jumps.remove(node).is_some();
        if shown <= self.proposed.version {
            return shown;
        }
        if shown - self.proposed.version > VERSION_JUMP_MAX {
            self.jumps.insert(node.clone(), shown);
            self.settled = false;
            self.news = true;
            return 0;
        }
        let mut draft = self.proposed.clone();
        draft.version = shown;
        let why = Change::because(format!("{node} shows version {shown}"));
        match self.accept(draft, why) {
            Ok(()) => {
                let version = self.proposed.version;
                let node = node.clone();
                self.gathered.events.push(Event::VersionRaised { node, shown, version });
            }
            Err(refusal) => {
                let order = format!("go above version {shown} of {node}");
                step.effects.push(Effect::Happened(Event::OrderRefused { order, refusal }));
            }
        }
        0
    }

    fn emptied(&mut self, node: &NodeKey, intent: u64, ok: bool, now: Timestamp, step: &mut Step) {
        let wanted = self.proposed.nodes.get(node).and_then(|stored| stored.empty_intent);
        let Some(facts) = self.facts.get_mut(node).filter(|f| f.emptying == Some(intent)) else {
            return;
        };
        facts.emptying = None;
        if !ok {
            facts.retry_at = Some(now.plus_millis(RETRY_PAUSE_MILLIS));
        } else if wanted == Some(intent) {
            facts.emptied = Some(intent);
            // What it showed before says nothing any more.
            if let Some(observed) = &mut facts.observed {
                observed.items = 0;
            }
            step.effects.push(Effect::Happened(Event::NodeEmptied { node: node.clone() }));
        }
    }

    /// Other zones hold from now on. Nothing moves because of that: it counts for what is decided
    /// later.
    fn zones_told(&mut self, zones: Zones) {
        for (key, facts) in &mut self.facts {
            facts.zone = zones.of(key).cloned();
        }
        self.zones = zones;
        self.settled = false;
    }

    pub(super) fn breaker_changed(&mut self, open: bool, assigned: u32, dead: u32) {
        self.record(|stored| stored.breaker_open = open);
        self.settled = false;
        self.gathered.events.push(Event::BreakerChanged { open, assigned, dead });
    }

    /// Another shape is wanted from now on.
    pub(super) fn wanted_changed(&mut self, wanted: Wanted, step: &mut Step) {
        if let Mode::Automatic(old) = &mut self.settings.mode {
            *old = wanted;
        }
        // Said again with every reading of the manifest, not only the first time.
        let again = self.blocked.iter().filter(|what| {
            matches!(what, Blocked::PartitionReduction { wanted: asked, .. }
                if *asked == wanted.partitions)
        });
        let again = again.cloned().map(|what| Effect::Happened(Event::Blocked(what)));
        step.effects.extend(again);
    }

    /// Nodes that show a version too far above ours stand in the way until they no longer do.
    pub(super) fn note_version_jumps(&mut self, step: &mut Step) {
        self.jumps.retain(|node, _| self.proposed.nodes.contains_key(node));
        if matches!(self.settings.mode, Mode::Manual) {
            self.tell_blocked(BTreeSet::new(), step);
        }
    }

    /// Tells what newly stands in the way, and what no longer does.
    pub(super) fn tell_blocked(&mut self, mut blocked: BTreeSet<Blocked>, step: &mut Step) {
        let jumps = self.jumps.iter();
        blocked.extend(
            jumps.map(|(node, shown)| Blocked::VersionJump { node: node.clone(), shown: *shown }),
        );
        for what in &blocked {
            let is_news = match what {
                Blocked::CameBackEmpty { node, best, .. } => self.is_news_of_empty(node, best),
                what => !self.blocked.contains(what),
            };
            if is_news {
                step.effects.push(Effect::Happened(Event::Blocked(what.clone())));
            }
        }
        let old = std::mem::take(&mut self.blocked);
        for gone in old.into_iter().filter(|old| !blocked.iter().any(|new| new.replaces(old))) {
            if let Blocked::CameBackEmpty { node, .. } = &gone
                && let Some(facts) = self.facts.get_mut(node)
            {
                facts.told_empty = None;
            }
            step.effects.push(Effect::Happened(Event::Unblocked(gone)));
        }
        self.blocked = blocked;
    }

    /// That a master came back empty is said once of each process of it, and again only when the
    /// evidence names another copy: evidence comes and goes with every connection.
    fn is_news_of_empty(&mut self, node: &NodeKey, best: &Option<NodeKey>) -> bool {
        let Some(facts) = self.facts.get_mut(node) else { return true };
        if facts.told_empty.as_ref().is_some_and(|told| best.is_none() || told == best) {
            return false;
        }
        facts.told_empty = Some(best.clone());
        true
    }
}

impl Input {
    /// Does it only tell what somebody does or has, most often nothing new?
    pub(super) fn only_tells(&self) -> bool {
        matches!(
            self,
            Self::Acknowledged { .. }
                | Self::Observed { .. }
                | Self::ConnectionsShown { .. }
                | Self::Stored { .. }
                | Self::Suspected { .. }
        )
    }
}
