//! Random streams and values: nothing panics, limits hold, cuts change nothing, and what is
//! encoded is read again.

use flare_core::model::{NodeEntry, NodeKey, Role, State};
use flare_core::protocol::command::{
    Kill, Meta, NodeAdd, NodeLeave, NodeRemove, NodeRole, NodeState, Ping, Quit, ShowVariables,
    Shutdown, Stats, Verbosity, Version,
};
use flare_core::protocol::line::{LINE_MAX, READ_SIZE};
use flare_core::protocol::node::{self, Reply};
use flare_core::protocol::node_line::{self, NodeLine};
use flare_core::protocol::relayed::{Beginning, beginning};
use flare_core::protocol::{LineBuffer, LineError, Rejected, Request, encode, reply};
use proptest::collection::vec;
use proptest::prelude::*;

/// What the commands are made of, and what lies in wait between.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let word = prop_oneof![
        8 => proptest::sample::select(vec![
            "ping", "quit", "meta", "node", "add", "role", "state", "remove", "shutdown", "stats",
            "nodes", "threads", "queue", "show", "variables", "kill", "verbosity", "noreply",
            "sync", "master", "slave", "proxy", "active", "down", "h", "127.0.0.1", "12121", "-1",
            "1-2", "-",
            "<a:1>", "<", "NODE", "STAT", "OK", "END", "SERVER_ERROR",
        ])
        .prop_map(|word| word.as_bytes().to_vec()),
        6 => proptest::sample::select(vec![" ", "  ", "\n", "\r\n", "\t", "\r", "\0"])
            .prop_map(|gap| gap.as_bytes().to_vec()),
        1 => vec(any::<u8>(), 0..8),
        1 => (any::<u8>(), 0..3 * LINE_MAX).prop_map(|(byte, times)| vec![byte; times]),
    ];
    vec(word, 0..60).prop_map(|words| words.concat())
}

type Outcome = (Vec<Result<Request, Rejected>>, Option<LineError>);

/// Everything that comes out of these pieces; the buffer never holds more than it may.
fn requests<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Outcome {
    let mut lines = LineBuffer::for_requests();
    let mut parsed = Vec::new();
    for piece in pieces {
        // As a socket does: no more than there is room for.
        for read in piece.chunks(READ_SIZE) {
            lines.extend(read);
            loop {
                match lines.next_frame() {
                    Ok(Some(frame)) => parsed.push(frame.request()),
                    Ok(None) => break,
                    Err(error) => return (parsed, Some(error)),
                }
            }
            // The longest line, and what growing by doubling adds.
            assert!(lines.held_memory() <= 4 * LINE_MAX, "{}", lines.held_memory());
        }
    }
    (parsed, None)
}

fn key() -> impl Strategy<Value = NodeKey> {
    ("[!-9;-~é]{1,60}", any::<i32>()).prop_map(|(name, port)| NodeKey::new(&name, port))
}

fn role() -> impl Strategy<Value = Role> {
    proptest::sample::select(vec![Role::Master, Role::Slave, Role::Proxy])
}

fn state() -> impl Strategy<Value = State> {
    proptest::sample::select(vec![State::Active, State::Prepare, State::Down, State::Ready])
}

fn entry() -> impl Strategy<Value = NodeEntry> {
    (role(), state(), any::<i32>(), any::<i32>(), any::<u32>()).prop_map(
        |(role, state, partition, balance, thread_type)| NodeEntry {
            role,
            state,
            partition,
            balance,
            thread_type,
        },
    )
}

/// Requests, each with the words that ask for it.
fn request() -> impl Strategy<Value = (Request, String)> {
    let plain = proptest::sample::select(vec![
        (Request::Ping(Ping), "ping"),
        (Request::Version(Version), "version"),
        (Request::Quit(Quit), "quit"),
        (Request::Meta(Meta), "meta"),
        (Request::Stats(Stats::Process), "stats"),
        (Request::Stats(Stats::Nodes), "stats nodes"),
        (Request::Stats(Stats::Threads), "stats threads"),
        (Request::ShowVariables(ShowVariables), "show variables"),
        (Request::Verbosity(Verbosity { noreply: true }), "verbosity 1 noreply"),
    ]);
    let node = (key(), role(), state(), any::<i32>(), any::<i32>(), 0..6_u8);
    let node = node.prop_map(|(node, role, state, balance, partition, which)| {
        let (name, port) = (node.name().to_owned(), node.port());
        match which {
            0 => (Request::NodeAdd(NodeAdd { node }), format!("node add {name} {port}")),
            1 => {
                let words = format!("node role {name} {port} {role} {balance} {partition}");
                (Request::NodeRole(NodeRole { node, role, balance, partition }), words)
            }
            2 => {
                let words = format!("node state {name} {port} {state}");
                (Request::NodeState(NodeState { node, state }), words)
            }
            3 => (Request::NodeRemove(NodeRemove { node }), format!("node remove {name} {port}")),
            4 => {
                let words = format!("node leave {name} {port} cancel");
                (Request::NodeLeave(NodeLeave { node, cancel: true }), words)
            }
            _ => (Request::Shutdown(Shutdown { node }), format!("shutdown {name} {port}")),
        }
    });
    prop_oneof![
        plain.prop_map(|(request, words)| (request, words.to_owned())),
        any::<u32>().prop_map(|id| (Request::Kill(Kill { thread_id: id }), format!("kill {id}"))),
        node,
    ]
}

/// Feeds a reply with whatever comes; how it ends does not matter.
fn feed<R: Reply>(bytes: &[u8]) {
    let mut lines = LineBuffer::for_replies();
    lines.extend(bytes);
    let mut reply = R::default();
    while let Ok(Some(_)) = node::take(&mut reply, &mut lines) {
        reply = R::default();
    }
}

proptest! {
    #[test]
    fn any_stream_is_taken_and_cuts_change_nothing(
        stream in stream(),
        cuts in vec(any::<prop::sample::Index>(), 0..5),
    ) {
        let whole = requests([&stream[..]]);
        for rejected in whole.0.iter().filter_map(|parsed| parsed.as_ref().err()) {
            let error = rejected.reply;
            let known = error == reply::ERROR
                || error == reply::NOTHING
                || error.starts_with(b"SERVER_ERROR failed to ");
            prop_assert!(known, "{}", error.escape_ascii());
        }
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
        cuts.extend([0, stream.len()]);
        cuts.sort_unstable();
        let pieces: Vec<&[u8]> = cuts.windows(2).map(|cut| &stream[cut[0]..cut[1]]).collect();
        prop_assert_eq!(requests(pieces), whole);
    }

    #[test]
    fn any_bytes_are_a_request_or_rejected(line in vec(any::<u8>(), 0..2000)) {
        let _ = Request::parse(&line);
        let _ = node_line::parse(&line);
    }

    #[test]
    fn any_bytes_may_come_as_an_answer(stream in stream()) {
        feed::<node::Ping>(&stream);
        feed::<node::NodeSync>(&stream);
        feed::<node::FlushAll>(&stream);
        feed::<node::Version>(&stream);
        feed::<node::Stats>(&stream);
        feed::<node::StatsThreads>(&stream);
    }

    #[test]
    fn what_nodes_send_each_other_is_told_apart_however_it_comes(
        words in vec(
            proptest::sample::select(vec!["get", "gets", "keys", "set", "g", "<a:1>", " ", "\n"]),
            0..8,
        ),
        cut in any::<prop::sample::Index>(),
    ) {
        let sent = words.concat().into_bytes();
        let whole = beginning(&sent);
        let early = beginning(&sent[..cut.index(sent.len() + 1)]);
        prop_assert!(early == Beginning::Unclear || early == whole, "{early:?} of {whole:?}");
        if let Beginning::Read(length) = whole {
            prop_assert_eq!(beginning(&sent[..length]), whole);
            prop_assert_eq!(sent[..length].iter().filter(|byte| **byte == b'\n').count(), 1);
        }
    }

    #[test]
    fn a_request_is_read_however_it_is_spaced(
        requests_and_words in vec(request(), 1..8),
        gap in " {1,4}",
        lead in " {0,3}",
        prefix in "(<[a-z:,0-9]{0,20}>)?",
        end in "\r?\n",
    ) {
        let (expected, words): (Vec<Request>, Vec<String>) = requests_and_words.into_iter().unzip();
        let lines = words.iter().map(|words| {
            format!("{prefix}{lead}{}{lead}{end}", words.replace(' ', &gap))
        });
        let stream: String = lines.collect();
        let (parsed, error) = requests([stream.as_bytes()]);
        prop_assert_eq!(error, None);
        prop_assert_eq!(parsed, expected.into_iter().map(Ok).collect::<Vec<_>>(), "{}", stream);
    }

    #[test]
    fn a_node_line_is_read_as_it_was_written(key in key(), entry in entry(), rest in "( .*)?") {
        let line = format!("{}{rest}", NodeLine { key: &key, entry: &entry });
        prop_assert_eq!(node_line::parse(line.as_bytes()), Ok((key, entry)));
    }

    #[test]
    fn a_node_sync_holds_the_map_in_its_order(
        version in any::<u64>(),
        nodes in proptest::collection::btree_map(key(), entry(), 0..20),
    ) {
        let sync = encode::node_sync(version, nodes.iter());
        let text = str::from_utf8(&sync).unwrap();
        let first = format!("node sync {version}\r\n");
        let lines = text.strip_prefix(&first).and_then(|rest| rest.strip_suffix("END\r\n"));
        let lines = lines.unwrap().split_terminator("\r\n");
        let read: Vec<_> = lines.map(|line| node_line::parse(line.as_bytes()).unwrap()).collect();
        prop_assert_eq!(read, nodes.into_iter().collect::<Vec<_>>());
    }
}
