//! The recorded conversations with flared: our requests are those that upstream's index sent, and
//! every answer is read as what it says, cut anywhere.

use flare_core::model::Incarnation;
use flare_core::protocol::line::LineBuffer;
use flare_core::protocol::node::{
    FlushAll, NodeStats, NodeSync, Ping, Reply, ReplyError, Stats, StatsThreads, Version,
    flush_all, node_sync, ping, stats, stats_threads, take, version,
};
use flare_core::protocol::node_line;

use crate::transcripts::{self, Conversation};

/// The conversations in which an index or an observer asks a node nothing but what we ask, and
/// `stats nodes`.
fn with_a_node() -> Vec<Conversation> {
    let mut conversations = transcripts::all();
    conversations.retain(|talk| {
        let asks_what_we_ask = split_requests(&talk.sent).iter().all(|request| {
            let known = [ping::REQUEST, stats::REQUEST, stats_threads::REQUEST];
            let known = known.iter().chain([&flush_all::REQUEST, &version::REQUEST]);
            known.into_iter().any(|known| request == known)
                || request == b"stats nodes\r\n"
                || request.starts_with(b"node sync")
        });
        talk.to.contains("flared") && !talk.sent.is_empty() && asks_what_we_ask
    });
    assert!(conversations.len() > 80, "only {}", conversations.len());
    conversations
}

/// Cuts what was sent into requests: a line, or a `node sync` up to its `END`.
fn split_requests(sent: &[u8]) -> Vec<Vec<u8>> {
    let mut requests: Vec<Vec<u8>> = Vec::new();
    for line in sent.split_inclusive(|byte| *byte == b'\n') {
        let in_sync = requests
            .last()
            .is_some_and(|last| last.starts_with(b"node sync") && !last.ends_with(b"\nEND\r\n"));
        match requests.last_mut().filter(|_| in_sync) {
            Some(last) => last.extend(line),
            None => requests.push(line.to_vec()),
        }
    }
    requests
}

#[test]
fn our_node_sync_is_the_one_that_upstream_sends() {
    let mut compared = 0;
    for talk in with_a_node().iter().filter(|talk| talk.from == "flarei(monitor)") {
        for request in split_requests(&talk.sent) {
            let Some(rest) = request.strip_prefix(b"node sync ") else { continue };
            let text = str::from_utf8(rest).unwrap();
            let mut lines = text.split_terminator("\r\n");
            let version = lines.next().unwrap().parse().unwrap();
            let nodes: Vec<_> = lines
                .take_while(|line| *line != "END")
                .map(|line| node_line::parse(line.as_bytes()).unwrap())
                .collect();
            let ours = node_sync::request(version, nodes.iter().map(|(key, entry)| (key, entry)));
            assert_eq!(ours.escape_ascii().to_string(), request.escape_ascii().to_string());
            compared += 1;
        }
    }
    assert!(compared > 80, "only {compared}");
}

/// Reads one answer; what comes out, in words.
fn read<R: Reply<Value: std::fmt::Debug>>(lines: &mut LineBuffer) -> Option<String> {
    let outcome = match take(&mut R::default(), lines) {
        Ok(None) => return None,
        Ok(Some(value)) => format!("{value:?}"),
        Err(error @ ReplyError::Refused(_)) => error.to_string(),
        Err(error) => panic!("{error}"),
    };
    Some(outcome)
}

/// Steps over the body of `stats nodes`.
#[derive(Debug, Default)]
struct UpToEnd;

impl Reply for UpToEnd {
    type Value = ();

    fn line(&mut self, line: &[u8]) -> Result<Option<()>, ReplyError> {
        Ok((line == b"END").then_some(()))
    }
}

#[test]
fn every_recorded_answer_of_a_node_is_read() {
    let (mut answered, mut refused) = (0, 0);
    for talk in with_a_node() {
        let mut lines = LineBuffer::for_replies();
        lines.extend(&talk.answered);
        for request in split_requests(&talk.sent) {
            let outcome = match &request[..] {
                ping::REQUEST => read::<Ping>(&mut lines),
                stats::REQUEST => read::<Stats>(&mut lines),
                stats_threads::REQUEST => read::<StatsThreads>(&mut lines),
                flush_all::REQUEST => read::<FlushAll>(&mut lines),
                version::REQUEST => read::<Version>(&mut lines),
                b"stats nodes\r\n" => read::<UpToEnd>(&mut lines),
                _ => read::<NodeSync>(&mut lines),
            };
            match outcome {
                Some(text) if text == "the node answered `SERVER_ERROR node sync error`" => {
                    refused += 1;
                }
                Some(text) => {
                    assert!(!text.contains("answered"), "{}: {text}", talk.name);
                    answered += 1;
                }
                // It was hung, or died.
                None => assert!(lines.is_empty(), "{}", talk.name),
            }
        }
        assert!(lines.is_empty(), "{}: something is left", talk.name);
    }
    assert!(answered > 150 && refused > 3, "{answered} answered, {refused} refused");
}

/// The answer of one flared to an observer, up to its first `END`.
fn recorded(name: &str, request: &[u8]) -> Vec<u8> {
    let talk = transcripts::all().into_iter().find(|talk| talk.name == name);
    let talk = talk.expect("a recorded conversation");
    let sent = split_requests(&talk.sent);
    let mut answers = &talk.answered[..];
    for earlier in sent.iter().take_while(|sent| sent != &request) {
        let ends: &[u8] = if earlier.starts_with(b"stats") { b"END\r\n" } else { b"\r\n" };
        let at = answers.windows(ends.len()).position(|window| window == ends);
        let at = at.expect("a whole answer");
        answers = &answers[at + ends.len()..];
    }
    answers.to_vec()
}

#[test]
fn stats_and_stats_threads_show_which_process_it_is_and_what_it_does() {
    let answer = recorded("node-observation-commands c1", stats::REQUEST);
    let expected = NodeStats {
        incarnation: Incarnation { started: 1_795_372_709 - 3, pid: 25_863 },
        version: 5,
        items: 0,
    };
    let end = answer.windows(5).position(|window| window == b"END\r\n").unwrap() + 5;
    for cut in 0..=end {
        let mut reply = Stats::default();
        let mut lines = LineBuffer::for_replies();
        lines.extend(&answer[..cut]);
        let before = take(&mut reply, &mut lines).unwrap();
        assert_eq!(before, (cut == end).then_some(expected), "cut at {cut}");
        lines.extend(&answer[cut..]);
        let after = if before.is_some() { before } else { take(&mut reply, &mut lines).unwrap() };
        assert_eq!(after, Some(expected), "cut at {cut}");
    }

    let answer = recorded("node-observation-commands c1", stats_threads::REQUEST);
    let mut lines = LineBuffer::for_replies();
    lines.extend(&answer);
    let threads = take(&mut StatsThreads::default(), &mut lines).unwrap().unwrap();
    assert!(!threads.copying());
    let clients = threads.of_kind(1);
    assert_eq!((clients.threads, clients.busy, clients.queued), (2, 1, 0));
    assert_eq!(threads.of_kind(16).threads, 0);
    let observation = expected.observation(&threads);
    assert_eq!((observation.version, observation.copying), (5, false));
}

#[test]
fn a_reconstruction_thread_is_a_copy_and_queues_are_added_up() {
    let thread = |id: u32, kind: u32, state: &str, queue: u32| {
        format!(
            "STAT {id}:type {kind}\r\nSTAT {id}:peer h:1\r\nSTAT {id}:op dump\r\n\
             STAT {id}:uptime 1\r\nSTAT {id}:state {state}\r\nSTAT {id}:info \r\n\
             STAT {id}:queue {queue}\r\nSTAT {id}:behind 0\r\n"
        )
    };
    let threads = [thread(7, 3, "connect", 0), thread(8, 17, "wait", 5), thread(9, 17, "wait", 6)];
    let mut lines = LineBuffer::for_replies();
    lines.extend(format!("{}END\r\n", threads.concat()).as_bytes());
    let threads = take(&mut StatsThreads::default(), &mut lines).unwrap().unwrap();
    assert!(threads.copying());
    let proxies = threads.of_kind(17);
    assert_eq!((proxies.threads, proxies.busy, proxies.queued), (2, 0, 11));
}

/// What comes of this answer.
fn outcome<R: Reply<Value: std::fmt::Debug + PartialEq>>(
    answer: impl AsRef<[u8]>,
) -> Result<Option<R::Value>, ReplyError> {
    let mut lines = LineBuffer::for_replies();
    lines.extend(answer.as_ref());
    take(&mut R::default(), &mut lines)
}

#[test]
fn only_ok_is_ok_and_error_lines_leave_the_connection_in_order() {
    assert_eq!(outcome::<Ping>("OK\r\n"), Ok(Some(())));
    assert_eq!(outcome::<Ping>("OK\n"), Ok(Some(())));
    assert_eq!(outcome::<Ping>("OK\r"), Ok(None));
    for refusal in ["SERVER_ERROR storage error", "CLIENT_ERROR format error", "ERROR"] {
        let error = outcome::<Ping>(format!("{refusal}\r\n")).unwrap_err();
        assert_eq!(error, ReplyError::Refused(refusal.to_owned()));
        assert!(error.keeps_connection());
        let error = outcome::<Stats>(format!("{refusal}\r\n")).unwrap_err();
        assert!(error.keeps_connection());
    }
    for other in ["OK x", "ok", "", "END", "STORED", "HTTP/1.1 400 Bad Request", "ERRORS"] {
        let error = outcome::<Ping>(format!("{other}\r\n")).unwrap_err();
        assert_eq!(error, ReplyError::Unexpected(other.to_owned()));
        assert!(!error.keeps_connection());
    }
    assert_eq!(outcome::<Version>("VERSION flare-1.3.4\r\n"), Ok(Some("flare-1.3.4".to_owned())));
    assert!(matches!(outcome::<Version>("OK\r\n"), Err(ReplyError::Unexpected(_))));
}

#[test]
fn an_answer_that_lacks_or_mangles_what_we_need_is_an_error() {
    let complete = "STAT pid 1\r\nSTAT uptime 2\r\nSTAT time 9\r\nSTAT curr_items 3\r\n\
                    STAT new_thing x\r\nSTAT node_map_version 4\r\nEND\r\n";
    let expected =
        NodeStats { incarnation: Incarnation { started: 7, pid: 1 }, version: 4, items: 3 };
    assert_eq!(outcome::<Stats>(complete), Ok(Some(expected)));
    for what in ["pid", "uptime", "time", "curr_items", "node_map_version"] {
        let missing = complete.replace(&format!("STAT {what} "), "STAT other ");
        assert_eq!(outcome::<Stats>(missing), Err(ReplyError::Missing(what)));
        let mangled = complete.replace(&format!("STAT {what} "), &format!("STAT {what} x"));
        assert!(matches!(outcome::<Stats>(mangled), Err(ReplyError::Unexpected(_))), "{what}");
    }
    for line in ["STAT 7", "STAT x:type 1", "STAT 7:type x", "STAT 7:state wait", "OK", ""] {
        let error = outcome::<StatsThreads>(format!("{line}\r\nEND\r\n")).unwrap_err();
        assert!(!error.keeps_connection(), "{line}: {error}");
    }
}

#[test]
fn an_answer_without_end_is_given_up() {
    let stats = "STAT x 1\r\n".repeat(stats::LINES_MAX + 1);
    assert_eq!(outcome::<Stats>(stats), Err(ReplyError::TooMany(stats::LINES_MAX)));
    let threads = "STAT 1:type 1\r\n".repeat(stats_threads::LINES_MAX + 1);
    let error = outcome::<StatsThreads>(threads).unwrap_err();
    assert_eq!(error, ReplyError::TooMany(stats_threads::LINES_MAX));
    let line = format!("OK{}\n", "x".repeat(20_000));
    assert_eq!(outcome::<Ping>(line), Err(ReplyError::TooLong));
}

#[test]
fn an_error_repeats_only_the_beginning_of_a_line_and_nothing_that_harms_a_terminal() {
    let line = format!("\x1b[2J{}\r\n", "x".repeat(10_000));
    let text = outcome::<Ping>(line).unwrap_err().to_string();
    assert!(text.contains("\\x1b[2Jxxx") && text.len() < 300, "{text}");
}
