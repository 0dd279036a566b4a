//! A person chooses the copy that a partition goes on with, and how a chosen one is told.

use crate::model::{NodeKey, Role, State};
use crate::policy::recovery::candidates;
use crate::stored::{Holding, Lapse, LapseCause};
use crate::topology::drafts::{is_replaced, promote_for_preserved};
use crate::topology::transitions::{self, Change, set};
use crate::topology::{Event, Facts, Origin, Refusal, RequestId, Step, Topology};

impl Topology {
    /// The partition's master is dead or came back empty: it goes on with what `from` has. Nothing
    /// is emptied by this; what other nodes hold is kept until the new master serves (R6).
    pub(super) fn recover(
        &mut self,
        (request, partition): (RequestId, i32),
        from: &NodeKey,
        origin: Origin,
        step: &mut Step,
    ) -> Result<(), Refusal> {
        if self.is_manual() {
            return Err(Refusal::OnlyAutomatic);
        }
        if origin != Origin::Admin {
            return Err(Refusal::NotAllowed);
        }
        if self.proposed.breaker_open {
            return Err(Refusal::BreakerOpen);
        }
        let lost = self.lost().find(|(of, _)| *of == partition);
        let master = lost.map(|(_, master)| master.clone()).ok_or(Refusal::NotLost)?;
        let shown = self.facts.get(&master).filter(|facts| facts.answers() && !facts.suspected);
        if shown.and_then(|facts| facts.observed).is_some_and(|shown| shown.items > 0) {
            return Err(Refusal::NotLost);
        }
        if self.handover.is_some() {
            return Err(Refusal::Busy);
        }
        match master == *from {
            true => self.go_on_empty(&master, partition)?,
            false => self.go_on_with(from, partition)?,
        }
        self.settled = false;
        self.answer_when_stored((request, false), step);
        Ok(())
    }

    /// The partitions whose master is dead and was not replaced, each with that master.
    fn lost(&self) -> impl Iterator<Item = (i32, &NodeKey)> {
        let masters = self.proposed.nodes.iter().filter(|(key, node)| {
            let entry = &node.entry;
            entry.is_preserved() && !is_replaced(&self.proposed, key, entry.partition)
        });
        masters.map(|(key, node)| (node.entry.partition, key))
    }

    /// The partition without a master of which the node may hold what is left, if there is one.
    pub(super) fn may_be_left_of(&self, node: &NodeKey) -> Option<i32> {
        let may_hold = |(partition, master): &(i32, &NodeKey)| {
            let copies = candidates(&self.proposed, &self.facts, *partition, master);
            copies.iter().any(|copy| copy.node == *node)
        };
        self.lost().find(may_hold).map(|(partition, _)| partition)
    }

    fn go_on_empty(&mut self, master: &NodeKey, partition: i32) -> Result<(), Refusal> {
        if !self.facts.get(master).is_some_and(Facts::answers) {
            return Err(Refusal::NoCopy("it does not answer; start it first"));
        }
        let mut draft = self.proposed.clone();
        set(&mut draft, master, |entry| entry.state = State::Active);
        self.accept(draft, Change::because("a person has it go on without its data"))?;
        self.tell_chosen(master.clone(), partition, None, true);
        Ok(())
    }

    fn go_on_with(&mut self, from: &NodeKey, partition: i32) -> Result<(), Refusal> {
        let known = self.proposed.nodes.get(from).ok_or(Refusal::UnknownNode)?;
        let facts = self.facts.get(from).filter(|facts| facts.answers() && !facts.suspected);
        let shown = facts.and_then(Facts::observed_in_role);
        let belongs = match known.entry.role {
            // It may be all that is left of another partition, and out of reach in this one.
            Role::Proxy => !matches!(known.holds, Holding::Partition(of) if of != partition),
            Role::Slave => known.entry.partition == partition,
            Role::Master => false,
        };
        if known.entry.state == State::Down {
            return Err(Refusal::NodeDown);
        }
        if !belongs {
            return Err(Refusal::NoCopy("it belongs to another partition"));
        }
        match shown {
            None => return Err(Refusal::NoCopy("it does not answer, or not yet by this map")),
            Some(shown) if shown.copying => {
                return Err(Refusal::NoCopy("it has not ended its copy yet; wait a moment"));
            }
            Some(shown) if shown.items == 0 => {
                return Err(Refusal::NoCopy(
                    "it holds no items; to go on without any, name the \
                                            master itself",
                ));
            }
            Some(_) => {}
        }
        if self.facts.get(from).is_some_and(|facts| facts.emptying.is_some()) {
            return Err(Refusal::NoCopy("it is being emptied"));
        }
        let why = "a person has the partition go on with its copy".to_owned();
        let lapse = if known.entry.role == Role::Slave && known.entry.state == State::Active {
            let lapse = known.lapse;
            let mut draft = self.proposed.clone();
            promote_for_preserved(&mut draft, from, partition);
            let first = vec![from.clone()];
            self.accept(draft, Change { first, ..Change::because(why) })?;
            lapse
        } else {
            let unknown = Lapse::new(LapseCause::Unfinished, self.proposed.version);
            let lapse = known.lapse.unwrap_or(unknown);
            self.adopt(from, partition, lapse, why)?;
            Some(lapse)
        };
        self.tell_chosen(from.clone(), partition, lapse, true);
        Ok(())
    }

    /// The evidence left no doubt.
    pub(super) fn recover_by_itself(
        &mut self,
        node: NodeKey,
        partition: i32,
        lapse: Lapse,
        why: String,
    ) -> Result<(), Refusal> {
        self.adopt(&node, partition, lapse, why)?;
        self.tell_chosen(node, partition, Some(lapse), false);
        Ok(())
    }

    /// First step: the node is told that it is a slave of the dead master. It copies nothing then
    /// (flare-protocol.md 6.3), and as the master that it becomes next it copies nothing either
    /// (`Action::Promote` of the policy).
    fn adopt(
        &mut self,
        node: &NodeKey,
        partition: i32,
        lapse: Lapse,
        why: String,
    ) -> Result<(), Refusal> {
        let mut draft = self.proposed.clone();
        transitions::entry(&draft, node)?;
        set(&mut draft, node, |entry| {
            entry.role = Role::Slave;
            entry.state = State::Active;
            entry.partition = partition;
            entry.balance = 0;
        });
        if let Some(known) = draft.nodes.get_mut(node) {
            known.lapse = Some(lapse);
        }
        draft.recoveries.insert(partition, node.clone());
        self.accept(draft, Change::because(why))
    }

    fn tell_chosen(
        &mut self,
        node: NodeKey,
        partition: i32,
        lapse: Option<Lapse>,
        by_person: bool,
    ) {
        self.gathered.events.push(Event::CopyChosen { node, partition, lapse, by_person });
    }
}
