//! Random stored topologies that could be real, for round trips.

use flare_core::model::{
    FIRST_THREAD_TYPE, HashAlgorithm, HashSettings, Incarnation, NO_PARTITION, NodeEntry, NodeKey,
    Role, State,
};
use flare_core::stored::{
    HandoverStep, Holding, Lapse, LapseCause, StoredHandover, StoredNode, StoredTopology,
};
use proptest::prelude::*;

/// Server names as they occur, and ones that need escaping somewhere.
fn name() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z0-9.-]{1,40}", "[!-9;-~é日]{1,20}"]
}

fn role() -> impl Strategy<Value = Role> {
    prop_oneof![Just(Role::Master), Just(Role::Slave), Just(Role::Proxy)]
}

fn state() -> impl Strategy<Value = State> {
    prop_oneof![Just(State::Active), Just(State::Prepare), Just(State::Down), Just(State::Ready)]
}

/// An entry whose thread type is still to be given.
fn entry() -> impl Strategy<Value = NodeEntry> {
    (role(), state(), 0..1023_i32, 0..=i32::MAX).prop_map(|(role, state, partition, balance)| {
        let partition = if role == Role::Proxy { NO_PARTITION } else { partition };
        NodeEntry { role, state, partition, balance, thread_type: FIRST_THREAD_TYPE }
    })
}

fn hash() -> impl Strategy<Value = HashSettings> {
    let algorithm = prop_oneof![
        Just(HashAlgorithm::Simple),
        Just(HashAlgorithm::Crc32),
        Just(HashAlgorithm::Jenkins)
    ];
    (1..=u32::MAX, algorithm, 1..=u32::MAX, 1..=u32::MAX).prop_map(
        |(partition_size, algorithm, modular_hint, modular_virtual)| HashSettings {
            partition_size,
            algorithm,
            modular_hint,
            modular_virtual,
        },
    )
}

fn holding() -> impl Strategy<Value = Holding> {
    prop_oneof![
        Just(Holding::Unknown),
        Just(Holding::Spare),
        (0..1023_i32).prop_map(Holding::Partition)
    ]
}

fn node() -> impl Strategy<Value = StoredNode> {
    let incarnation = (any::<i64>(), any::<u32>());
    let incarnation = incarnation.prop_map(|(started, pid)| Incarnation { started, pid });
    let incarnation = proptest::option::of(incarnation);
    let lapse = proptest::option::of(lapse());
    (entry(), incarnation, holding(), lapse, any::<Option<u64>>()).prop_map(
        |(entry, incarnation, holds, lapse, empty_intent)| StoredNode {
            incarnation,
            holds,
            lapse,
            empty_intent,
            ..StoredNode::new(entry)
        },
    )
}

fn lapse() -> impl Strategy<Value = Lapse> {
    let cause = prop_oneof![
        Just(LapseCause::Silent),
        Just(LapseCause::LostRole),
        Just(LapseCause::Unfinished)
    ];
    (cause, any::<u64>(), any::<Option<u64>>(), any::<u64>()).prop_map(
        |(cause, version, since_unix_seconds, silent_millis)| Lapse {
            cause,
            version,
            since_unix_seconds,
            silent_millis,
        },
    )
}

fn key() -> impl Strategy<Value = NodeKey> {
    (name(), any::<i32>()).prop_map(|(name, port)| NodeKey::new(&name, port))
}

fn handover() -> impl Strategy<Value = StoredHandover> {
    let step = prop_oneof![
        Just(HandoverStep::Introducing),
        Just(HandoverStep::Holding),
        Just(HandoverStep::Switching),
        Just(HandoverStep::Releasing)
    ];
    let relay = proptest::option::of(key());
    let balances = proptest::collection::btree_map(key(), 0..9_i32, 0..3);
    (0..1023_i32, key(), key(), relay, balances, step).prop_map(
        |(partition, from, to, relay, balances, step)| StoredHandover {
            partition,
            from,
            to,
            relay,
            balances,
            step,
        },
    )
}

/// A whole topology; thread types are given in the order of the keys.
pub(crate) fn topology() -> impl Strategy<Value = StoredTopology> {
    let nodes = proptest::collection::btree_map(key(), node(), 0..12);
    let handover = proptest::option::of(handover());
    (any::<(u64, u64, u64, u64)>(), hash(), handover, nodes).prop_map(
        |(numbers, hash, handover, nodes)| {
            let mut stored = StoredTopology::empty(hash);
            (stored.generation, stored.epoch, stored.version, stored.next_intent) = numbers;
            stored.handover = handover;
            for (key, mut node) in nodes {
                node.entry.thread_type = stored.next_thread_type;
                stored.next_thread_type += 1;
                stored.nodes.insert(key, node);
            }
            stored
        },
    )
}
