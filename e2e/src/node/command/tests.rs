//! The grammar of flare-protocol.md 2 and 4, line by line.

use super::*;
use crate::node::storage::Verb;

fn parse(line: &str) -> Option<Command> {
    Request::parse(line.as_bytes()).map(|request| request.command)
}

/// A write as it would be passed on, with its data block `d`.
fn passed_on(line: &str) -> String {
    let Some(Command::Write(mut write)) = parse(line) else { panic!("no write: {line}") };
    write.set_data(Bytes::from("d"));
    String::from_utf8(write.encode()).unwrap()
}

#[test]
fn lines_that_are_answered_error() {
    for line in [
        "",
        " ",
        "foo",
        "PING",
        "ping extra",
        "version 1",
        "get",
        "set",
        "set k 0 0",
        "set k 0 -1 1",
        "set k -1 0 1",
        "set k 0 0 -1",
        "set k 0 0 1 -1",
        "set k 0 0 1 2 bogus",
        "set k 0 0 2147483648",
        "set k 4294967296 0 1",
        "set k 0 9223372036854775808 1",
        "set a\0b 0 0 1",
        "cas k 0 0 1",
        "delete",
        "delete k x",
        "incr k",
        "incr k 1-2",
        "touch k",
        "touch k 0 sync",
        "gat k",
        "keys k",
        "keys k 0",
        "dump -1",
        "dump 0 1",
        "dump 0 1 1",
        "dump 0 -1 1",
        "dump 0 -1 -1",
        "dump 99999999999 0 1",
        "dump_key 1 1",
        "flush_all sync",
        "flush_all x",
        "node",
        "node add h 1",
        "node role h 1 proxy",
        "node bogus",
        "meta",
        "shutdown h 1",
        "stats bogus",
        "stats threads bogus",
        "show",
        "show threads",
        "kill",
        "kill abc",
        "kill 1 2",
        "kill 4294967297",
        "verbosity",
        "verbosity abc",
        "verbosity 1 sync",
    ] {
        assert_eq!(parse(line), None, "{line}");
    }
}

#[test]
fn spaces_do_not_matter_and_surplus_words_sometimes_do_not() {
    assert_eq!(parse("   ping   "), Some(Command::Ping));
    assert_eq!(parse("show variables extra"), Some(Command::ShowVariables));
    assert_eq!(parse("stats nodes extra words"), Some(Command::Statistics(Statistics::Nodes)));
    assert_eq!(parse("quit"), Some(Command::Quit));
    assert_eq!(parse("quit now"), Some(Command::Nothing));
    assert_eq!(parse("node sync"), Some(Command::NodeSync { version: 0 }));
    assert_eq!(
        parse("node sync 18446744073709551615"),
        Some(Command::NodeSync { version: u64::MAX })
    );
}

/// Each was tried on upstream's flared.
#[test]
fn odd_lines_that_are_accepted() {
    for line in [
        "dump x",
        "dump 1x",
        "dump 0 x",
        "dump 0 -2",
        "dump 0 0 1 -1",
        "dump 0 0 1 5 6",
        "dump_key x",
        "dump_key 0 1 0 0",
        "touch a 0 1",
        "gat a 0 1",
        "flush_all -1",
        "kill -1",
        "set a 0 9223372036854775807 1",
        "delete a 0 0 noreply",
        "incr n -5",
    ] {
        assert!(parse(line).is_some(), "{line}");
    }
    let cut = Command::Get { keys: vec![Bytes::from("a")], versions: false };
    assert_eq!(parse("get a\0b"), Some(cut), "a key that is read ends at a NUL");
}

#[test]
fn a_prefix_stands_directly_before_the_command() {
    let request = Request::parse(b"<a:1,b:2>get k").unwrap();
    assert_eq!(request.prefix, ["a:1", "b:2"]);
    assert_eq!(request.command, Command::Get { keys: vec![Bytes::from("k")], versions: false });
    assert!(Request::parse(b"<a:1>ping").is_some());
    assert!(Request::parse(b"<a:1 ping").is_none());
}

#[test]
fn writes_are_passed_on_with_their_command() {
    for (line, expected) in [
        ("set a 5 0 3", "set a 5 0 1\r\nd\r\n"),
        ("set a 5 0 3 9", "set a 5 0 1 9\r\nd\r\n"),
        ("set a 5 0 3 noreply sync", "set a 5 0 1 noreply sync\r\nd\r\n"),
        ("cas a 0 0 1 5", "cas a 0 0 1 5\r\nd\r\n"),
        ("append a 0 0 1", "append a 0 0 1\r\nd\r\n"),
        ("incr a 5", "incr a 5\r\n"),
        ("decr a -5", "decr a 18446744073709551611\r\n"),
        ("delete a", "delete a 0\r\n"),
        ("delete a noreply", "delete a 0 noreply\r\n"),
        ("delete a 1795371551 7", "delete a 1795371551 7\r\n"),
        ("touch a 1795371551", "touch a 1795371551\r\n"),
        ("gat a 1795371551 noreply", "gat a 1795371551 noreply\r\n"),
    ] {
        assert_eq!(passed_on(line), expected);
    }
}

#[test]
fn results_are_sent_to_copies_as_set_delete_and_touch() {
    let entry = |version| super::super::storage::Entry {
        key: Bytes::from("a"),
        flag: 7,
        expire: 1_795_371_551,
        version,
        data: Bytes::from("abc"),
    };
    for (line, expected) in [
        ("append a 0 0 1", "set a 7 1795371551 3 4\r\nabc\r\n"),
        ("incr a 5 noreply", "set a 7 1795371551 3 4 noreply\r\nabc\r\n"),
        ("delete a", "delete a 0 4\r\n"),
        ("touch a 1795371551", "touch a 1795371551\r\n"),
        ("gat a 1795371551", "touch a 1795371551\r\n"),
    ] {
        let Some(Command::Write(write)) = parse(line) else { panic!("{line}") };
        assert_eq!(String::from_utf8(write.result(entry(4)).encode()).unwrap(), expected);
    }
}

#[test]
fn expires_up_to_30_days_are_relative() {
    let expire = |line: &str| match parse(line) {
        Some(Command::Write(Write::Touch { expire, .. })) => expire,
        other => panic!("{other:?}"),
    };
    assert_eq!(expire("touch a 0"), 0);
    assert_eq!(expire("touch a 2592001"), 2_592_001);
    let now = super::super::clock::unix_seconds();
    assert!((now + 2_592_000..now + 2_592_060).contains(&expire("touch a 2592000")));
}

#[test]
fn dumps() {
    let dump = |line: &str| match parse(line) {
        Some(Command::Dump(dump)) => (dump.wait_micros, dump.filter, dump.bwlimit),
        other => panic!("{line}: {other:?}"),
    };
    assert_eq!(dump("dump"), (0, None, 0));
    assert_eq!(dump("dump 5 2 3 50"), (5, Some((2, 3)), 50));
    assert_eq!(dump("dump 0 -1 0"), (0, None, 0));
    assert_eq!(dump("dump_key 1 2"), (0, Some((1, 2)), 0));
}

#[test]
fn a_key_has_at_most_8191_bytes() {
    let longest = format!("set {} 0 0 1", "k".repeat(8191));
    assert!(parse(&longest).is_some());
    let longer = format!("set {} 0 0 1", "k".repeat(8192));
    assert_eq!(parse(&longer), None);
    let Some(Command::Write(Write::Store { verb: Verb::Set, entry, .. })) = parse(&longest) else {
        panic!("a set");
    };
    assert_eq!(entry.key.len(), 8191);
}
