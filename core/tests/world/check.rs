//! What must hold of stored and told maps, worked out here once more and not taken from
//! `flare_core::invariant`: a mistake there must not hide itself.

use std::collections::{BTreeMap, BTreeSet};

use flare_core::model::{NodeEntry, NodeKey, NodeMap, Role, State};
use flare_core::stored::StoredTopology;

/// What was tried, stored and told, over all lives of the index.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ledger {
    /// Maps that the present life of the index tried to store, and all that were ever stored.
    tried: BTreeMap<u64, NodeMap>,
    stored: BTreeMap<u64, NodeMap>,
    /// Whose thread type a number is, by the same rule.
    tried_types: BTreeMap<u32, NodeKey>,
    stored_types: BTreeMap<u32, NodeKey>,
    newest: Option<StoredTopology>,
}

impl Ledger {
    /// The index wants this stored.
    pub(crate) fn tries(&mut self, wanted: &StoredTopology, automatic: bool) {
        let map = wanted.node_map();
        sound(&map, wanted, automatic);
        if let Some(newest) = &self.newest {
            assert!(wanted.generation > newest.generation, "generations grow");
            assert!(wanted.version >= newest.version, "versions never go back (R3)");
            assert!(wanted.next_thread_type >= newest.next_thread_type, "thread types grow (R3)");
            assert_eq!(wanted.hash, newest.hash, "hash settings are fixed (R14)");
            if automatic {
                let (old, new) = (partitions(newest), partitions(wanted));
                assert!(old <= new, "{old} partitions became {new} (R2)");
            }
        }
        let before = self.tried.insert(wanted.version, map.clone());
        assert!(
            before.is_none_or(|before| before == map),
            "version {} has two contents (R3)",
            wanted.version
        );
        for (key, entry) in &map {
            let owner = self.tried_types.insert(entry.thread_type, key.clone());
            assert!(
                owner.is_none_or(|owner| owner == *key),
                "thread type {} was given twice (R3)",
                entry.thread_type
            );
        }
    }

    /// The store has it.
    pub(crate) fn stores(&mut self, stored: &StoredTopology) {
        let map = stored.node_map();
        self.stored_types.extend(map.iter().map(|(key, entry)| (entry.thread_type, key.clone())));
        self.stored.insert(stored.version, map);
        self.newest = Some(stored.clone());
    }

    /// Something is published, pushed or answered: it must be what was stored last (R4).
    pub(crate) fn tells(&self, told: &StoredTopology) {
        assert_eq!(self.newest.as_ref(), Some(told), "only what is stored is told (R4)");
    }

    /// The index starts again: what it tried and nobody heard of is forgotten.
    pub(crate) fn restarts(&mut self) {
        self.tried = self.stored.clone();
        self.tried_types = self.stored_types.clone();
    }
}

/// R1, and in automatic mode R2: what flared would accept (flare-protocol.md 1.6).
fn sound(map: &NodeMap, stored: &StoredTopology, automatic: bool) {
    let of = |wanted: fn(&NodeEntry) -> bool| -> Vec<i32> {
        map.values().filter(|entry| wanted(entry)).map(|entry| entry.partition).collect()
    };
    let living = of(|entry| entry.role == Role::Master && entry.state != State::Down);
    let distinct: BTreeSet<i32> = living.iter().copied().collect();
    assert_eq!(living.len(), distinct.len(), "two masters of one partition (R1) in {map:?}");
    for (key, entry) in map {
        let fits = (entry.role == Role::Proxy) == (entry.partition < 0);
        assert!(fits, "{key} is {entry} of partition {} (R1)", entry.partition);
        assert!(entry.thread_type < stored.next_thread_type, "{key} has a future thread type");
    }
    let types: BTreeSet<u32> = map.values().map(|entry| entry.thread_type).collect();
    assert_eq!(types.len(), map.len(), "a thread type is shared (R3) in {map:?}");
    if !automatic {
        return;
    }
    let serving = of(|entry| {
        entry.role == Role::Master && matches!(entry.state, State::Active | State::Down)
    });
    let serving: BTreeSet<i32> = serving.into_iter().collect();
    let count = i32::try_from(serving.len()).expect("few partitions");
    assert_eq!(serving, (0..count).collect(), "a gap between partitions (R2) in {map:?}");
    let preparing = of(|entry| entry.role == Role::Master && entry.state.is_preparing());
    assert!(
        preparing.is_empty() || preparing == [count],
        "partitions {preparing:?} prepare beside {count} (R2)"
    );
    // A relay that is not needed any more is a slave of nothing, on purpose.
    let relay = stored.handover.as_ref().and_then(|handover| handover.relay.as_ref());
    let slaves = map.iter().filter(|(_, entry)| entry.role == Role::Slave);
    for (key, entry) in slaves.filter(|(key, _)| relay != Some(*key)) {
        assert!(entry.state != State::Down, "{key} is a slave that is down");
        let has_master = serving.contains(&entry.partition) || preparing.contains(&entry.partition);
        assert!(has_master, "{key} is a slave of a partition without a master (R2)");
    }
}

fn partitions(stored: &StoredTopology) -> usize {
    let masters = stored.nodes.values().map(|node| &node.entry);
    let counted = masters
        .filter(|entry| entry.role == Role::Master && !entry.state.is_preparing())
        .map(|entry| entry.partition);
    counted.collect::<BTreeSet<i32>>().len()
}
