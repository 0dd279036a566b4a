//! The rules of flare-protocol.md 4.5, one by one.

use super::*;

fn entry(key: &str, version: u64, data: &str) -> Entry {
    Entry {
        key: Bytes::copy_from_slice(key.as_bytes()),
        flag: 0,
        expire: 0,
        version,
        data: Bytes::copy_from_slice(data.as_bytes()),
    }
}

fn memory() -> Storage {
    Storage::open(None, 16).unwrap()
}

fn version(stored: &Outcome) -> u64 {
    match stored {
        Outcome::Stored(entry) => entry.version,
        other => panic!("not stored: {other:?}"),
    }
}

fn set(storage: &mut Storage, version: u64) -> Outcome {
    storage.store(Verb::Set, entry("k", version, "v")).unwrap()
}

fn delete(storage: &mut Storage, expire: u64, version: u64) -> Option<u64> {
    storage.remove(&Bytes::from("k"), expire, version).unwrap()
}

#[test]
fn versions_grow_across_a_delete_while_the_tombstone_lasts() {
    let mut storage = memory();
    assert_eq!(version(&set(&mut storage, 0)), 1);
    assert_eq!(delete(&mut storage, 0, 0), Some(1));
    assert_eq!(version(&set(&mut storage, 0)), 2);
    storage.flush().unwrap();
    assert_eq!(version(&set(&mut storage, 0)), 1);
}

#[test]
fn tombstones_are_bounded_and_the_oldest_goes_first() {
    let mut storage = Storage::open(None, 2).unwrap();
    for key in ["a", "b", "c"] {
        storage.store(Verb::Set, entry(key, 5, "")).unwrap();
        storage.remove(&Bytes::from(key), 0, 0).unwrap();
    }
    assert_eq!(version(&storage.store(Verb::Set, entry("a", 0, "")).unwrap()), 1);
    assert_eq!(version(&storage.store(Verb::Set, entry("c", 0, "")).unwrap()), 6);
}

#[test]
fn a_given_version_must_be_newer_than_a_living_entry() {
    let mut storage = memory();
    assert_eq!(version(&set(&mut storage, 9)), 9);
    assert_eq!(set(&mut storage, 9), Outcome::NotStored);
    assert_eq!(set(&mut storage, 8), Outcome::NotStored);
    assert_eq!(version(&set(&mut storage, 10)), 10);
}

#[test]
fn a_plain_set_older_than_a_tombstone_is_taken_and_an_import_is_not() {
    let mut storage = memory();
    set(&mut storage, 9);
    delete(&mut storage, 0, 0);
    assert_eq!(storage.store(Verb::Import, entry("k", 9, "v")).unwrap(), Outcome::NotStored);
    assert_eq!(version(&set(&mut storage, 3)), 3);
}

#[test]
fn a_deferred_delete_blocks_add_and_replace_until_its_time() {
    let mut storage = memory();
    set(&mut storage, 0);
    assert_eq!(delete(&mut storage, unix_seconds() + 100, 0), Some(1));
    assert_eq!(storage.store(Verb::Add, entry("k", 0, "v")).unwrap(), Outcome::NotStored);
    assert_eq!(storage.store(Verb::Replace, entry("k", 0, "v")).unwrap(), Outcome::NotStored);
    assert_eq!(version(&set(&mut storage, 0)), 2);
}

#[test]
fn deletes_with_versions() {
    let mut storage = memory();
    set(&mut storage, 5);
    assert_eq!(delete(&mut storage, 0, 4), None, "older than the entry");
    assert!(storage.get(b"k").unwrap().is_some());
    assert_eq!(delete(&mut storage, 0, 7), Some(7));
    assert_eq!(delete(&mut storage, 0, 9), None, "absent, but remembered");
    assert_eq!(version(&set(&mut storage, 0)), 10);
}

#[test]
fn cas_compares_versions() {
    let mut storage = memory();
    let cas = |storage: &mut Storage, v| storage.store(Verb::Cas, entry("k", v, "w")).unwrap();
    assert_eq!(cas(&mut storage, 1), Outcome::NotFound);
    set(&mut storage, 5);
    assert_eq!(cas(&mut storage, 4), Outcome::Exists);
    assert_eq!(version(&cas(&mut storage, 5)), 6);
}

#[test]
fn append_and_prepend_keep_flag_and_expire() {
    let mut storage = memory();
    let expire = unix_seconds() + 1000;
    storage.store(Verb::Set, Entry { flag: 7, expire, ..entry("k", 0, "b") }).unwrap();
    storage.store(Verb::Append, entry("k", 0, "c")).unwrap();
    let Outcome::Stored(joined) = storage.store(Verb::Prepend, entry("k", 0, "a")).unwrap() else {
        panic!("not stored");
    };
    assert_eq!(joined, Entry { flag: 7, expire, ..entry("k", 3, "abc") });
}

#[test]
fn counters_stick_at_their_ends_and_read_leading_digits() {
    let mut storage = memory();
    let mut count = |start: &str, amount, up| {
        storage.flush().unwrap();
        storage.store(Verb::Set, entry("k", 0, start)).unwrap();
        let entry = storage.count(b"k", amount, up).unwrap().unwrap();
        assert_eq!(entry.version, 2);
        String::from_utf8(entry.data.to_vec()).unwrap()
    };
    assert_eq!(count("5", 7, true), "12");
    assert_eq!(count("5", 7, false), "0");
    assert_eq!(count("abc", 7, true), "7");
    assert_eq!(count("12abc", 1, true), "13");
    assert_eq!(count("18446744073709551615", 1, true), "18446744073709551615");
    assert_eq!(count("99999999999999999999", 1, true), "1");
    assert_eq!(count("10", 5u64.wrapping_neg(), true), "18446744073709551615");
    assert!(storage.count(b"other", 1, true).unwrap().is_none());
}

#[test]
fn an_expired_entry_is_gone_but_counts_until_it_is_read() {
    let mut storage = memory();
    storage.store(Verb::Set, Entry { expire: 1, ..entry("k", 4, "v") }).unwrap();
    assert_eq!(storage.len(), 1);
    assert!(storage.touch(b"other", 0).unwrap().is_none());
    assert_eq!(storage.store(Verb::Replace, entry("k", 0, "w")).unwrap(), Outcome::NotStored);
    assert!(storage.get(b"k").unwrap().is_none());
    assert_eq!(storage.len(), 0);
}

#[test]
fn iteration_follows_insertion_and_a_same_sized_record_takes_a_removed_ones_place() {
    let mut storage = memory();
    for key in ["key05", "key06", "key07"] {
        storage.store(Verb::Set, entry(key, 0, "v05")).unwrap();
    }
    storage.remove(&Bytes::from("key06"), 0, 0).unwrap();
    storage.store(Verb::Set, entry("viaslave", 0, "s")).unwrap();
    let mut found = Vec::new();
    let mut place = 0;
    while let Some((next, entry)) = storage.after(place) {
        found.push(entry.key.clone());
        place = next;
    }
    // as recorded in cluster-replication.txt at +14.359
    assert_eq!(found, ["key05", "viaslave", "key07"]);
}

#[test]
fn there_is_one_iterator() {
    let mut storage = memory();
    let first = storage.begin_iteration().unwrap();
    assert_eq!(storage.begin_iteration(), None);
    storage.end_iteration();
    storage.flush().unwrap();
    assert_ne!(storage.begin_iteration().unwrap(), first, "a flush ends what went before");
}

#[test]
fn a_directory_outlives_the_storage_and_its_tombstones_do_not() {
    let directory = tempfile::tempdir().unwrap();
    let mut storage = Storage::open(Some(directory.path()), 16).unwrap();
    for key in ["a", "b", "c"] {
        storage.store(Verb::Set, Entry { flag: 3, ..entry(key, 7, "data") }).unwrap();
    }
    storage.remove(&Bytes::from("b"), 0, 0).unwrap();
    drop(storage);
    let mut storage = Storage::open(Some(directory.path()), 16).unwrap();
    assert_eq!(storage.get(b"a").unwrap().unwrap(), Entry { flag: 3, ..entry("a", 7, "data") });
    assert!(storage.get(b"b").unwrap().is_none());
    assert_eq!(version(&storage.store(Verb::Set, entry("b", 0, "")).unwrap()), 1);
    storage.flush().unwrap();
    drop(storage);
    assert_eq!(Storage::open(Some(directory.path()), 16).unwrap().len(), 0);
}

#[test]
fn a_data_directory_that_does_not_exist_is_an_error_that_names_it() {
    let error = Storage::open(Some(Path::new("/nonexistent/flare")), 1).unwrap_err();
    assert!(error.to_string().contains("/nonexistent/flare/flare.redb"), "{error}");
}
