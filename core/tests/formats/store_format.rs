//! The stored form: what was written is read; anything else is refused with a reason.

use flare_core::model::{HashSettings, NO_PARTITION, NodeEntry, NodeKey, Role, State};
use flare_core::store_format::{STORED_BYTES_MAX, StoreFormatError, decode, encode};
use flare_core::stored::{StoredNode, StoredTopology};
use flare_core::stored_check::STORED_NODES_MAX;
use proptest::prelude::*;

use crate::random;

fn master(thread_type: u32) -> NodeEntry {
    NodeEntry { role: Role::Master, state: State::Active, partition: 0, balance: 1, thread_type }
}

fn two_nodes() -> StoredTopology {
    let mut stored = StoredTopology::empty(HashSettings::default());
    stored.version = 7;
    stored.next_thread_type = 18;
    for (name, thread_type) in [("a", 16), ("b", 17)] {
        let node = StoredNode::new(master(thread_type));
        stored.nodes.insert(NodeKey::new(name, 12121), node);
    }
    stored
}

/// What a person reads about these bytes.
#[track_caller]
fn complaint(bytes: &[u8]) -> String {
    decode(bytes).expect_err("must be refused").to_string()
}

/// The same bytes with the body replaced, and a header that fits it.
fn with_body(body: &str) -> Vec<u8> {
    let (length, checksum) = (body.len(), crc32fast::hash(body.as_bytes()));
    format!("flare-index-map format=1 length={length} crc32={checksum:08x}\n{body}").into_bytes()
}

proptest! {
    #[test]
    fn what_was_written_is_read(stored in random::topology()) {
        let bytes = encode(&stored);
        prop_assert!(bytes.ends_with(b"\n"));
        prop_assert_eq!(decode(&bytes).unwrap(), stored);
    }

    #[test]
    fn random_bytes_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(decode(&bytes).is_err());
    }

    #[test]
    fn one_changed_byte_is_noticed(
        stored in random::topology(),
        at in any::<prop::sample::Index>(),
        bits in 1..=255_u8,
    ) {
        let mut bytes = encode(&stored);
        let at = at.index(bytes.len());
        bytes[at] ^= bits;
        // A digit of the checksum may be written in upper case: then it is still the same map.
        prop_assert!(decode(&bytes).ok().is_none_or(|read| read == stored));
    }
}

#[test]
fn every_cut_and_every_addition_is_noticed() {
    let bytes = encode(&two_nodes());
    for end in 0..bytes.len() {
        assert!(decode(&bytes[..end]).is_err(), "cut at {end} of {}", bytes.len());
    }
    let mut longer = bytes;
    longer.push(b'\n');
    assert!(matches!(decode(&longer), Err(StoreFormatError::Surplus { .. })));
}

#[test]
fn a_person_is_told_what_is_wrong() {
    let bytes = encode(&two_nodes());
    let text = String::from_utf8(bytes.clone()).unwrap();
    assert_eq!(complaint(b""), "it is empty");
    let other = complaint(b"<?xml version=\"1.0\"?>");
    assert_eq!(
        other,
        "it is no node map of flare-operator: it does not begin with `flare-index-map`"
    );
    assert_eq!(complaint(b"flare-ind"), "its first line is damaged");
    assert_eq!(complaint(b"flare-index-map\n"), "its first line is damaged");
    let newer = complaint(text.replace("format=1", "format=2 zipped=yes").as_bytes());
    assert!(newer.contains("format 2") && newer.contains("newer flare-operator"), "{newer}");
    let cut = complaint(&bytes[..bytes.len() - 100]);
    assert!(cut.starts_with("it is cut off: "), "{cut}");
    let edited = complaint(text.replace("\"version\":7", "\"version\":8").as_bytes());
    assert!(edited.starts_with("it is damaged or was edited: its checksum"), "{edited}");
    let body = complaint(&with_body("{}\n"));
    assert!(body.starts_with("it is no node map: missing field"), "{body}");
    let large = complaint(&vec![b' '; STORED_BYTES_MAX + 1]);
    assert!(large.contains("more than the 8388608 that are read"), "{large}");
}

#[test]
fn a_body_that_nests_deeply_or_lies_about_a_node_is_refused() {
    let deep = "[".repeat(100_000);
    assert!(matches!(decode(&with_body(&deep)), Err(StoreFormatError::Body(_))));
    let text = String::from_utf8(encode(&two_nodes())).unwrap();
    let body = text.split_once('\n').unwrap().1;
    let key = body.replace("\"a:12121\"", "\"a\"");
    assert!(complaint(&with_body(&key)).contains("`a` is not a node"));
    let role = body.replace("master", "king");
    assert!(complaint(&with_body(&role)).contains("king"));
}

/// The entry of node `b`.
fn b(stored: &mut StoredTopology) -> &mut NodeEntry {
    &mut stored.nodes.get_mut(&NodeKey::new("b", 12121)).expect("node `b` is there").entry
}

#[test]
fn what_cannot_be_is_refused_with_names_and_numbers() {
    type Spoil = fn(&mut StoredTopology);
    let cases: [(Spoil, &str); 10] = [
        (|stored| b(stored).thread_type = 16, "a:12121 and b:12121 share the thread type 16"),
        (|stored| stored.next_thread_type = 17, "b:12121 has the thread type 17, but the next"),
        (|stored| b(stored).thread_type = 3, "b:12121 has the thread type 3, and those below 16"),
        (|stored| b(stored).partition = NO_PARTITION, "b:12121 is a master and has the partition"),
        (|stored| b(stored).role = Role::Proxy, "b:12121 is a proxy and has the partition 0"),
        (|stored| b(stored).balance = -1, "b:12121 has the balance -1"),
        (|stored| stored.hash.modular_hint = 0, "its partition-modular-hint is 0"),
        (|stored| stored.hash.partition_size = 0, "its partition-size is 0"),
        (
            |stored| {
                let node = StoredNode::new(NodeEntry::new_proxy(18));
                stored.nodes.insert(NodeKey::new("x y", 1), node);
                stored.next_thread_type = 19;
            },
            "no node can be called `x y:1`",
        ),
        (
            |stored| {
                for port in 0..=i32::try_from(STORED_NODES_MAX).unwrap() {
                    let number = 18 + u32::try_from(port).unwrap();
                    let node = StoredNode::new(NodeEntry::new_proxy(number));
                    stored.nodes.insert(NodeKey::new("n", port), node);
                    stored.next_thread_type = number + 1;
                }
            },
            "it has 10003 nodes, and at most 10000 are possible",
        ),
    ];
    for (spoil, expected) in cases {
        let mut stored = two_nodes();
        spoil(&mut stored);
        let said = complaint(&encode(&stored));
        assert!(said.starts_with("it can't be right: "), "{said}");
        assert!(said.contains(expected), "{said}\nbut not: {expected}");
    }
}
