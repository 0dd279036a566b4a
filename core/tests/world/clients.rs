//! What clients do, and what they were promised: the last value of each key, or that it is gone.

use flare_core::model::{NodeEntry, Role, State};
use flare_core::stored::{Holding, StoredTopology};

use crate::data::{Change, Key, Value, partition_of};
use crate::sim::World;

/// What a client wants of a master; of the keys that can be meant the one with this number, counted
/// round and round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Wish {
    WriteNew,
    /// Also one that was deleted.
    Overwrite(usize),
    Delete(usize),
}

impl World {
    /// One client more, each with another wish.
    pub(crate) fn client(&mut self, at: usize) {
        self.clients += 1;
        self.serve(
            at,
            match self.clients % 4 {
                0 => Wish::Overwrite(self.clients),
                1 => Wish::Delete(self.clients),
                _ => Wish::WriteNew,
            },
        );
    }

    /// A client is served by a node that is the master of the key, in the committed map and in its
    /// own. Before it changes a key it sees what it was promised.
    pub(crate) fn serve(&mut self, at: usize, wish: Wish) {
        let is_master =
            |entry: NodeEntry| entry.role == Role::Master && entry.state == State::Active;
        let Some(own) = self.nodes[at].entry().filter(|own| is_master(*own)) else { return };
        let agreed = self.entry(at).is_some_and(|e| is_master(e) && e.partition == own.partition);
        if !agreed || !self.nodes[at].serving {
            return;
        }
        let Some(key) = self.wished(at, own.partition, wish) else { return };
        if let Some(promised) = self.promised.get(&key) {
            let read = self.nodes[at].data.value(key);
            assert_eq!(read, *promised, "key {key} of node {at}, as a client reads it");
        }
        let value = self.next_value;
        let (promise, change) = match wish {
            Wish::Delete(_) => (None, self.nodes[at].data.delete(key)),
            _ => (Some(value), Some(self.nodes[at].data.set(key, value))),
        };
        self.next_value += 1;
        self.next_key = self.next_key.max(key + 1);
        self.tell(|| format!("client of {at}: key {key} is to be {promise:?}"));
        let is_sure = change.is_none_or(|change| self.pass_on(at, key, change));
        self.promised.remove(&key);
        if is_sure && !self.stale.contains(&key) {
            self.promised.insert(key, promise);
        }
    }

    /// The key that is meant. A key that belongs to a new partition already, and not yet in the
    /// master's own map, is left alone once it is there: both masters would count its versions.
    fn wished(&self, at: usize, partition: i32, wish: Wish) -> Option<Key> {
        let (active, _) = self.nodes[at].partitions();
        let belongs = |key: &Key| partition_of(*key, active) == partition;
        let committed = self.topology.snapshot().partitions();
        let is_agreed = |key: &Key| belongs(key) && partition_of(*key, committed) == partition;
        let is_there = |key: &Key| self.nodes[at].data.value(*key).is_some();
        let known = (0..self.next_key).filter(is_agreed);
        let (number, keys): (_, Vec<Key>) = match wish {
            Wish::WriteNew => return (self.next_key..).find(belongs),
            Wish::Overwrite(number) => (number, known.collect()),
            Wish::Delete(number) => (number, known.filter(is_there).collect()),
        };
        // A master without any item that comes back, as one that has lost them, waits for a person
        // while an older copy is left (R6).
        if matches!(wish, Wish::Delete(_)) && keys.len() < 2 {
            return None;
        }
        keys.get(number % keys.len().max(1)).copied()
    }

    /// A master passes on what became of a write to whom its own map names (flare-protocol.md 5.3).
    /// Is it sure that it is not lost?
    fn pass_on(&mut self, at: usize, key: Key, change: Change) -> bool {
        let Some(own) = self.nodes[at].entry() else { return false };
        let (active, preparing) = self.nodes[at].partitions();
        let splits_off = preparing > 0 && partition_of(key, active + 1) == active;
        let mut takers = self.nodes[at].of_map(|entry| entry.is_slave_of(own.partition));
        if splits_off {
            takers.extend(self.nodes[at].of_map(|entry| entry.is_master_of(active)));
        }
        let (mut all_live, mut all_took) = (true, true);
        for taker in takers {
            // A relay keeps nothing.
            let Some(to) = self.nodes.iter().position(|node| node.key == taker) else { continue };
            let serves = self.nodes[to].serving && !self.nodes[to].is_deaf;
            let took = serves && self.nodes[to].takes(key);
            if took {
                self.nodes[to].data.take(key, change);
                self.pass_on_behind(to, key, change);
            }
            all_live &= serves;
            all_took &= took;
        }
        // A master passes the keys of a partition that splits off on to the new master without
        // waiting for it: when that one has just died, and its activation is on its way all the
        // same, the key stays behind for good. Nothing that the index does can mend that. One that
        // lives and does not know of its role yet has its copy before it.
        // So it is with a master whose successor is on its way to the store, and has just died or
        // is another process.
        let is_superseded = self.writing.as_ref().is_some_and(|map| {
            let own = map.nodes.get(&self.nodes[at].key).map(|node| node.entry);
            own.is_some_and(|own| own.role != Role::Master || own.state != State::Active)
        });
        (all_live || !splits_off) && (all_took || !is_superseded)
    }

    /// The new master of a partition that splits off has slaves of its own.
    fn pass_on_behind(&mut self, at: usize, key: Key, change: Change) {
        let Some(own) = self.nodes[at].entry().filter(|own| own.role == Role::Master) else {
            return;
        };
        for slave in self.nodes[at].of_map(|entry| entry.is_slave_of(own.partition)) {
            let to = self.nodes.iter().position(|node| node.key == slave);
            if let Some(to) = to.filter(|to| self.nodes[*to].serving && self.nodes[*to].takes(key))
            {
                self.nodes[to].data.take(key, change);
            }
        }
    }

    /// Was this the last value that a client was promised, and is there nowhere else, on no disk of
    /// a node that belongs to the key's partition, or did? What a node still has of partitions that
    /// split off is out of reach for good (flare-protocol.md 5.3). A map that is on its way to the
    /// store counts as well.
    pub(crate) fn was_the_last(&self, key: Key, value: Value) -> bool {
        self.promised.get(&key) == Some(&Some(value)) && !self.is_kept(key, value)
    }

    pub(crate) fn is_kept(&self, key: Key, value: Value) -> bool {
        let committed = self.topology.snapshot().stored();
        let on_its_way = self.writing.as_deref();
        std::iter::once(committed).chain(on_its_way).all(|map| self.is_kept_by(map, key, value))
    }

    fn is_kept_by(&self, map: &StoredTopology, key: Key, value: Value) -> bool {
        let serving = map.nodes.values().map(|node| &node.entry);
        let serving = serving.filter(|e| e.role == Role::Master && !e.state.is_preparing());
        let count = serving.map(|entry| entry.partition + 1).max().unwrap_or(0);
        let partition = partition_of(key, count);
        self.nodes.iter().filter(|node| node.data.value(key) == Some(value)).any(|node| {
            map.nodes.get(&node.key).is_some_and(|stored| {
                let held = Holding::Partition(partition);
                stored.entry.partition == partition || stored.holds == held
            })
        })
    }

    /// A partition goes on with this node's copy: where that is another than it was promised,
    /// nothing is promised any more.
    pub(crate) fn goes_on_with(&mut self, at: usize, partition: i32) {
        let count = self.topology.snapshot().partitions();
        let kept = &self.nodes[at].data;
        self.promised.retain(|key, promise| {
            kept.value(*key) == *promise || partition_of(*key, count) != partition
        });
    }
}
