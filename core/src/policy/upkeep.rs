//! What is done for copies that there are: read balances, surplus ones, those that lapsed.

use crate::model::NodeKey;
use crate::policy::action::Action;
use crate::policy::assignment::{Planner, READ_BALANCE};
use crate::policy::shape::Partition;
use crate::stored::Holding;

impl Planner<'_> {
    /// Every copy is read from, and so each partition by somebody.
    pub(super) fn read_balance(&mut self) -> Option<Action> {
        let active = self.shape.counted().flat_map(|(_, partition)| {
            partition.active_master().into_iter().chain(&partition.active_slaves)
        });
        // A copy that lapsed is made again, and what is chosen to take over gets its share then.
        let silent = active.filter(|node| {
            let known = self.view.stored.nodes.get(node);
            known.is_some_and(|known| known.entry.balance == 0 && known.lapse.is_none())
        });
        let node = silent.min().cloned()?;
        Some(Action::SetBalance { node, balance: READ_BALANCE })
    }

    /// A copy more than wanted goes back to being a proxy, one that leaves first, one that lapsed
    /// before a whole one: never the master, nor any copy while the master does not answer (R6).
    pub(super) fn drop_surplus(&mut self) -> Option<Action> {
        let wanted = usize::try_from(self.view.wanted.replicas).unwrap_or(usize::MAX).max(1);
        self.shape.counted().find_map(|(_, partition)| {
            partition.active_master().filter(|master| self.view.answers(master))?;
            let leaves = |node: &&NodeKey| partition.leaving.contains(*node);
            let slaves = || partition.active_slaves.iter();
            let whole = partition.active_master().into_iter().chain(slaves());
            let staying = whole.filter(|node| !leaves(node)).count();
            let lapsed = || slaves().rfind(|node| !leaves(node) && self.lapse(node).is_some());
            let last = || lapsed().or_else(|| slaves().rfind(|node| !leaves(node)));
            let surplus = slaves()
                .find(leaves)
                .filter(|_| staying >= wanted)
                .or_else(|| last().filter(|_| staying > wanted));
            Some(Action::Demote { node: surplus?.clone() })
        })
    }

    /// A slave that lapsed gives its role up, so that a copy is made from the start: one at a time,
    /// while its master serves and answers. One that does not answer itself stays as it is: what it
    /// holds may yet be all that is left.
    pub(super) fn renew_lapsed(&mut self) -> Option<Action> {
        let busy = self.shape.partitions.values().any(Partition::prepares)
            || !self.claimed.is_empty()
            || self.shape.free.iter().any(|node| self.is_to_copy_again(node));
        if busy {
            return None;
        }
        self.shape.counted().find_map(|(_, partition)| {
            partition.active_master().filter(|master| self.view.answers(master))?;
            partition.active_slaves.iter().filter(|slave| self.view.answers(slave)).find_map(
                |slave| {
                    let lapse = self.lapse(slave)?;
                    Some(Action::Renew { node: slave.clone(), lapse })
                },
            )
        })
    }

    /// Has this proxy lost a copy that its partition lacks, and is it about to get it again?
    fn is_to_copy_again(&self, node: &NodeKey) -> bool {
        let wanted = usize::try_from(self.view.wanted.replicas).unwrap_or(usize::MAX);
        let Some(Holding::Partition(number)) =
            self.view.stored.nodes.get(node).map(|stored| stored.holds)
        else {
            return false;
        };
        let lacking = self.shape.partitions.get(&number).is_some_and(|partition| {
            let answers = |master| self.view.answers(master);
            partition.copies() < wanted && partition.active_master().is_some_and(answers)
        });
        let usable = self.view.facts(node).is_some_and(|facts| {
            facts.linked && facts.retry_at.is_none_or(|at| at <= self.view.now)
        });
        lacking && usable
    }
}
