//! Upstream's `flare.xml`: files that flarei 1.3.4 wrote are read and written again byte for byte.

use flare_core::flare_xml::{FLARE_XML_BYTES_MAX, decode, encode};
use flare_core::model::{HashSettings, NodeEntry, NodeKey, Role, State};
use flare_core::stored::{StoredNode, StoredTopology};
use proptest::prelude::*;

use crate::random;

/// As flarei wrote it: three nodes, with every character that XML wants escaped.
const THREE: &str = include_str!("three-nodes.flare.xml");

/// As flarei wrote it after its only node was removed.
const NONE: &str = include_str!("no-node.flare.xml");

fn read(text: &str) -> StoredTopology {
    decode(text.as_bytes(), HashSettings::default()).unwrap_or_else(|error| panic!("{error}"))
}

/// What a person reads about this file.
#[track_caller]
fn complaint(text: &str) -> String {
    let error = decode(text.as_bytes(), HashSettings::default());
    error.expect_err("must be refused").to_string()
}

/// What upstream can store of it.
fn without_what_is_ours(stored: StoredTopology) -> StoredTopology {
    let mut kept = StoredTopology::empty(stored.hash);
    kept.version = stored.version;
    kept.next_thread_type = stored.next_thread_type;
    let nodes = stored.nodes.into_iter().map(|(key, node)| (key, StoredNode::new(node.entry)));
    kept.nodes = nodes.collect();
    kept
}

proptest! {
    #[test]
    fn what_was_written_is_read(stored in random::topology()) {
        let bytes = encode(&stored);
        let read = decode(&bytes, stored.hash.clone()).unwrap();
        prop_assert_eq!(&encode(&read), &bytes);
        prop_assert_eq!(read, without_what_is_ours(stored));
    }

    #[test]
    fn random_text_is_refused(text in "\\PC{0,200}") {
        prop_assert!(decode(text.as_bytes(), HashSettings::default()).is_err());
    }
}

#[test]
fn files_of_flarei_are_read_and_written_again_byte_for_byte() {
    for file in [THREE, NONE] {
        assert_eq!(String::from_utf8(encode(&read(file))).unwrap(), file);
    }
    let stored = read(THREE);
    assert_eq!((stored.version, stored.next_thread_type), (9, 20));
    let proxy = |state, thread_type| NodeEntry { state, ..NodeEntry::new_proxy(thread_type) };
    let nodes: Vec<_> = stored.nodes.iter().map(|(key, node)| (key.clone(), node.entry)).collect();
    let expected = [
        (NodeKey::new("<z&\"'>", 7), proxy(State::Down, 17)),
        (NodeKey::new("aa", 9), proxy(State::Down, 19)),
        (NodeKey::new("hé", 8), proxy(State::Down, 18)),
    ];
    assert_eq!(nodes, expected);
}

#[test]
fn an_older_file_without_a_version_and_of_another_boost_is_read() {
    let old = THREE
        .replace("<version>9</version>\n", "")
        .replace("\t<item_version>0</item_version>\n", "")
        .replace("archive\" version=\"18\"", "archive\" version=\"5\"")
        .replace(" tracking_level=\"0\"", " tracking_level=\"1\" object_id=\"_0\"")
        .replace('\n', "\r\n");
    let mut expected = read(THREE);
    expected.version = 0;
    assert_eq!(read(&old), expected);
    let commented = THREE.replace("<node_map", "<!-- moved by hand --><?note x?>\n<node_map");
    assert_eq!(read(&commented), read(THREE));
}

#[test]
fn a_thread_type_that_the_counter_has_not_reached_is_refused_as_upstream_refuses_it() {
    let file = THREE.replace("<thread_type>20<", "<thread_type>19<");
    let said = complaint(&file);
    assert!(said.contains("aa:9 has the thread type 19, but the next one"), "{said}");
}

#[test]
fn what_is_wrong_is_said_with_its_line() {
    let nested = format!("{}{}", "<boost_serialization>", "<node_map>".repeat(10_000));
    let cases: [(String, &str); 15] = [
        (String::new(), "no flare.xml: <boost_serialization>"),
        ("<html/>".to_owned(), "no flare.xml: <boost_serialization>"),
        (format!("{THREE}<more/>"), "no flare.xml: <boost_serialization>"),
        (THREE.replace("<node_role>2", "<node_role>7"), "<node_role> has a value"),
        (
            THREE.replacen("<node_server_port>7", "<node_server_port>x", 1),
            "line 12: <node_server_port> can't be `x`",
        ),
        (THREE.replacen("<node_balance>0</node_balance>", "", 1), "<node_balance> is missing"),
        (THREE.replacen("\t<count>3</count>\n", "", 1), "<count> is missing"),
        (THREE.replace("<count>3", "<count>4"), "4 nodes are announced, and 3 are there"),
        (THREE.replace("<first>aa:9", "<first>aa:8"), "the key `aa:8` is given to the node aa:9"),
        (
            THREE.replace("<count>", "<color>blue</color><count>"),
            "line 6: <color> does not belong here",
        ),
        (THREE.replace("<count>", "x<count>"), "text between elements: `x`"),
        (THREE.replace("&amp;", "&bomb;"), "unknown entity `&bomb;`"),
        (THREE.replace("</item>\n</node_map>", "</node_map>"), "no XML"),
        (THREE.replace("<thread_type>20</thread_type>\n", ""), "<thread_type> is missing"),
        (nested, "<node_map> does not belong here"),
    ];
    for (file, expected) in cases {
        let said = complaint(&file);
        assert!(said.contains(expected), "{said}\nbut not: {expected}");
    }
}

#[test]
fn an_element_that_stands_there_twice_is_refused() {
    for element in ["version", "count", "node_role", "thread_type", "first"] {
        let start = THREE.find(&format!("<{element}>")).unwrap();
        let end = THREE[start..].find('\n').unwrap() + start + 1;
        let twice = format!("{}{}{}", &THREE[..end], &THREE[start..end], &THREE[end..]);
        let said = complaint(&twice);
        assert!(said.contains(&format!("<{element}> does not belong here")), "{said}");
    }
    let item = THREE.find("\t<item>\n\t\t<first>aa").unwrap();
    let end = THREE[item..].find("</item>\n").unwrap() + item + "</item>\n".len();
    let twice = format!("{}{}{}", &THREE[..end], &THREE[item..end], &THREE[end..]);
    assert!(complaint(&twice).contains("the node aa:9 stands there twice"));
}

#[test]
fn a_file_that_is_cut_anywhere_is_refused() {
    let whole = THREE.trim_end().len();
    for end in (0..whole).filter(|end| THREE.is_char_boundary(*end)) {
        let said = complaint(&THREE[..end]);
        let known = ["cut off", "no flare.xml", "no XML"].iter().any(|part| said.contains(part));
        assert!(known, "cut at {end}: {said}");
    }
}

#[test]
fn bytes_that_are_no_text_or_too_many_are_refused() {
    let mut bytes = THREE.as_bytes().to_vec();
    bytes[THREE.find("9</version>").unwrap()] = 0xff;
    let hash = HashSettings::default();
    let said = decode(&bytes, hash.clone()).unwrap_err().to_string();
    assert_eq!(said, "line 4: not UTF-8");
    let said = decode(&vec![b' '; FLARE_XML_BYTES_MAX + 1], hash).unwrap_err().to_string();
    assert!(said.contains("more than the 8388608 that are read"), "{said}");
}

#[test]
fn a_name_that_our_map_cannot_hold_is_refused() {
    let master = NodeEntry {
        role: Role::Master,
        state: State::Active,
        partition: 0,
        balance: 1,
        thread_type: 16,
    };
    let mut stored = StoredTopology::empty(HashSettings::default());
    stored.next_thread_type = 17;
    stored.nodes.insert(NodeKey::new("::1", 1), StoredNode::new(master));
    let said = complaint(&String::from_utf8(encode(&stored)).unwrap());
    assert!(said.contains("no node can be called `::1:1`"), "{said}");
}
