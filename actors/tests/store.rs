//! The map in a file: what a restart finds, whatever happened before it.

use std::fs;
use std::path::Path;

use flare_actors::store::Medium;
use flare_actors::store::file::{CURRENT, FLARE_XML, FileStore, OpenError, PREVIOUS};
use flare_core::model::{HashSettings, NodeEntry, NodeKey};
use flare_core::stored::{StoredNode, StoredTopology};
use flare_core::topology::StoreFailure;
use tempfile::TempDir;

/// A map of one node in this generation.
fn map(generation: u64) -> StoredTopology {
    let mut stored = StoredTopology::empty(HashSettings::default());
    stored.generation = generation;
    stored.version = generation + 100;
    let node = StoredNode::new(NodeEntry::new_proxy(stored.next_thread_type));
    stored.next_thread_type += 1;
    stored.nodes.insert(NodeKey::new("node.example", 12121), node);
    stored
}

fn open(folder: &Path) -> FileStore {
    FileStore::open(folder).expect("nobody else uses it")
}

fn folder_with(generations: u64) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let mut store = open(folder.path());
    for generation in 1..=generations {
        store.write(&map(generation)).expect("there is room");
    }
    folder
}

#[test]
fn a_restart_finds_the_last_map_and_the_one_before_it() {
    let folder = folder_with(3);
    assert_eq!(open(folder.path()).load().unwrap(), Some(map(3)));
    fs::rename(folder.path().join(PREVIOUS), folder.path().join(CURRENT)).unwrap();
    assert_eq!(open(folder.path()).load().unwrap(), Some(map(2)));
}

#[test]
fn an_empty_folder_is_a_new_cluster_and_is_made_if_it_is_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let deep = folder.path().join("a/b");
    assert_eq!(open(&deep).load().unwrap(), None);
}

#[test]
fn an_index_that_is_just_ending_is_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let ending = FileStore::open(folder.path()).unwrap();
    let path = folder.path().to_owned();
    let (begins, begun) = std::sync::mpsc::channel();
    let next = std::thread::spawn(move || {
        begins.send(()).unwrap();
        FileStore::open(&path).map(|_| ())
    });
    begun.recv().unwrap();
    drop(ending);
    next.join().unwrap().unwrap();
}

#[test]
fn two_indexes_never_share_a_folder() {
    let folder = folder_with(1);
    let held = open(folder.path());
    let error = FileStore::open(folder.path()).expect_err("it is in use");
    assert!(matches!(error, OpenError::InUse(_)), "{error}");
    assert!(error.to_string().contains("another index uses this data folder"), "{error}");
    drop(held);
    open(folder.path());
}

#[test]
fn a_damaged_map_is_named_with_the_good_generation_and_never_replaced_by_an_empty_one() {
    let folder = folder_with(5);
    let current = folder.path().join(CURRENT);
    let good = fs::read(&current).unwrap();
    for cut in [0, 1, good.len() / 2, good.len() - 1] {
        fs::write(&current, &good[..cut]).unwrap();
        let error = open(folder.path()).load().expect_err("half a map is no map");
        let sentence = error.to_string();
        assert!(sentence.contains(&current.display().to_string()), "{sentence}");
        assert!(sentence.contains("generation 4, map version 104"), "{sentence}");
        assert!(sentence.contains("cp "), "it says what to do: {sentence}");
    }
    let mut flipped = good;
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    fs::write(&current, flipped).unwrap();
    assert!(matches!(open(folder.path()).load(), Err(OpenError::Damaged { .. })));

    // What the sentence says helps.
    fs::copy(folder.path().join(PREVIOUS), &current).unwrap();
    assert_eq!(open(folder.path()).load().unwrap(), Some(map(4)));
}

#[test]
fn a_map_that_is_gone_is_not_taken_for_a_new_cluster() {
    let folder = folder_with(2);
    fs::remove_file(folder.path().join(CURRENT)).unwrap();
    let error = open(folder.path()).load().expect_err("there was a map");
    assert!(matches!(error, OpenError::Lost { previous: Some(_), .. }), "{error}");
    fs::write(folder.path().join(PREVIOUS), b"nonsense").unwrap();
    let error = open(folder.path()).load().expect_err("there was a map");
    assert!(error.to_string().contains("restore it from a backup"), "{error}");
}

#[test]
fn a_folder_of_flarei_is_not_taken_for_a_new_cluster() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(FLARE_XML), b"<?xml").unwrap();
    let error = open(folder.path()).load().expect_err("upstream's map is there");
    assert!(error.to_string().contains("flare-operator import --from"), "{error}");
}

#[test]
fn a_write_that_fails_leaves_the_old_map_and_the_next_one_succeeds() {
    let folder = folder_with(2);
    let mut store = open(folder.path());
    // Nothing can be written beside the old map.
    let in_the_way = folder.path().join("topology.new");
    fs::create_dir(&in_the_way).unwrap();
    let failure = store.write(&map(3)).expect_err("it cannot be written");
    let StoreFailure::Unwritable(why) = failure else { panic!("{failure}") };
    assert!(why.contains(&folder.path().join(CURRENT).display().to_string()), "{why}");
    assert_eq!(store.load().unwrap(), Some(map(2)));
    fs::remove_dir(&in_the_way).unwrap();
    store.write(&map(3)).unwrap();
    assert_eq!(store.load().unwrap(), Some(map(3)));
}

#[test]
fn what_a_crash_left_half_written_is_in_nobodys_way() {
    let folder = folder_with(2);
    fs::write(folder.path().join("topology.new"), b"half a").unwrap();
    fs::write(folder.path().join("topology.outgoing"), b"half a").unwrap();
    let mut store = open(folder.path());
    assert_eq!(store.load().unwrap(), Some(map(2)));
    store.write(&map(3)).unwrap();
    assert_eq!(store.load().unwrap(), Some(map(3)));
}

#[test]
fn a_first_map_is_never_put_over_another() {
    let folder = folder_with(1);
    let error = open(folder.path()).create(&map(9)).expect_err("there is one");
    assert!(matches!(error, OpenError::Exists(_)), "{error}");
    assert_eq!(open(folder.path()).load().unwrap(), Some(map(1)));
}
