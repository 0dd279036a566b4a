//! The recorded conversations with flarei: what it took we take, what it rejected we reject with
//! the same bytes, and every body that it sent is encoded again byte for byte.

use flare_core::model::{HashSettings, NodeEntry, NodeKey, Role, State};
use flare_core::protocol::command::{
    Kill, Meta, NodeAdd, NodeRemove, NodeRole, NodeState, Shutdown, Stats, StatsNodes,
    StatsProcess, StatsThreads, Thread, ThreadKind, ThreadState, Variables, Version,
};
use flare_core::protocol::{LineBuffer, Rejected, Request, encode, node_line, reply};

use crate::transcripts::{self, Conversation};

type Parsed = Result<Request, Rejected>;

/// The conversations in which somebody talks to an index.
fn with_an_index() -> Vec<Conversation> {
    let mut conversations = transcripts::all();
    conversations.retain(|talk| talk.to.starts_with("flarei") || talk.to == "fake index");
    assert!(conversations.len() > 150, "only {}", conversations.len());
    conversations
}

/// Everything that comes out of these bytes, which arrive in these pieces.
fn requests(pieces: &[&[u8]]) -> Vec<Parsed> {
    let mut lines = LineBuffer::for_requests();
    let mut parsed = Vec::new();
    for piece in pieces {
        lines.extend(piece);
        while let Some(frame) = lines.next_frame().expect("nobody sent binary or endless lines") {
            parsed.push(frame.request());
        }
    }
    parsed
}

#[test]
fn every_stream_cut_anywhere_gives_the_same_requests() {
    for talk in with_an_index() {
        let whole = requests(&[&talk.sent]);
        for cut in 0..=talk.sent.len() {
            let (start, end) = talk.sent.split_at(cut);
            assert_eq!(requests(&[start, end]), whole, "{} cut at {cut}", talk.name);
        }
        let bytes: Vec<&[u8]> = talk.sent.chunks(1).collect();
        assert_eq!(requests(&bytes), whole, "{} byte by byte", talk.name);
    }
}

#[test]
fn nodes_are_understood_by_every_index() {
    let fake = with_an_index().into_iter().filter(|talk| talk.to == "fake index");
    for talk in fake {
        for request in requests(&[&talk.sent]) {
            assert!(request.is_ok(), "{}: {request:?}", talk.name);
        }
    }
}

#[test]
fn every_recorded_request_is_answered_as_flarei_answered_it() {
    let mut compared = 0;
    for talk in with_an_index().into_iter().filter(|talk| talk.to != "fake index") {
        let mut answers = &talk.answered[..];
        for request in requests(&[&talk.sent]) {
            let length = answer(&request, answers).unwrap_or_else(|expected| {
                let got = answers.escape_ascii();
                panic!("{}: {request:?}\nanswered: {got}\nexpected: {expected}", talk.name)
            });
            answers = &answers[length..];
            compared += 1;
        }
        assert_eq!(answers, b"", "{}: was not asked for", talk.name);
    }
    assert!(compared > 200, "only {compared}");
}

/// The length of the answer to this request, if the recorded one is one that we could give; else
/// what was expected.
fn answer(request: &Parsed, answers: &[u8]) -> Result<usize, String> {
    let request = match request {
        Ok(request) => request,
        Err(rejected) => return one_of(&[rejected.reply], answers),
    };
    match request {
        Request::Ping(_) => one_of(&[reply::OK], answers),
        Request::Version(_) => one_of(&[Version::REPLY], answers),
        Request::Quit(_) => one_of(&[reply::NOTHING], answers),
        Request::Meta(_) => one_of(&[&Meta::encode(&HashSettings::default())], answers),
        Request::NodeAdd(_) if answers.starts_with(NodeAdd::REFUSED) => Ok(NodeAdd::REFUSED.len()),
        Request::NodeAdd(_) => again(answers, node_lines),
        Request::NodeRole(_) => one_of(&[NodeRole::OK, NodeRole::REFUSED], answers),
        Request::NodeState(_) => one_of(&[NodeState::OK, NodeState::REFUSED], answers),
        Request::NodeRemove(_) => one_of(&[NodeRemove::OK, NodeRemove::REFUSED], answers),
        Request::NodeLeave(_) => Err("no recording has this: it is ours".into()),
        Request::Shutdown(_) => one_of(&[Shutdown::OK, Shutdown::REFUSED], answers),
        Request::Stats(Stats::Process) => again(answers, stats_process),
        Request::Stats(Stats::Nodes) => again(answers, stats_nodes),
        Request::Stats(Stats::Threads | Stats::RequestThreads) => again(answers, stats_threads),
        Request::Stats(Stats::ThreadQueue) => one_of(&[&StatsThreads::encode_queue(0)], answers),
        Request::Stats(Stats::Empty | Stats::SlaveThreads) => one_of(&[Stats::EMPTY], answers),
        Request::ShowVariables(_) => again(answers, variables),
        Request::Kill(_) => one_of(&[Kill::OK, Kill::NOT_FOUND], answers),
        Request::Verbosity(verbosity) => one_of(&[verbosity.reply()], answers),
    }
}

fn one_of(possible: &[&[u8]], answers: &[u8]) -> Result<usize, String> {
    let found = possible.iter().find(|reply| answers.starts_with(reply));
    let expected = || possible.iter().map(|reply| reply.escape_ascii().to_string()).collect();
    found.map(|reply| reply.len()).ok_or_else(expected)
}

/// Reads the lines before `END` into values and encodes these again.
fn again(answers: &[u8], read: fn(&[&str]) -> Vec<u8>) -> Result<usize, String> {
    let text = str::from_utf8(answers).map_err(|error| error.to_string())?;
    let length = text.find("END\r\n").ok_or("END")? + "END\r\n".len();
    let lines: Vec<&str> = text[..length - "END\r\n".len()].split_terminator("\r\n").collect();
    let encoded = read(&lines);
    if encoded == answers[..length] { Ok(length) } else { Err(encoded.escape_ascii().to_string()) }
}

fn number<T: std::str::FromStr>(text: &str) -> T {
    text.parse().unwrap_or_else(|_| panic!("`{text}` is not a number"))
}

/// The value of the line that begins like this.
fn value<'a>(lines: &[&'a str], start: &str) -> &'a str {
    let found = lines.iter().find_map(|line| line.strip_prefix(start));
    found.unwrap_or_else(|| panic!("no line begins with {start}"))
}

fn node_lines(lines: &[&str]) -> Vec<u8> {
    let nodes: Vec<(NodeKey, NodeEntry)> = lines
        .iter()
        .map(|line| node_line::parse(line.as_bytes()).expect("upstream's NODE lines are in order"))
        .collect();
    let sync = encode::node_sync(0, nodes.iter().map(|(key, entry)| (key, entry)));
    sync["node sync 0\r\n".len()..].to_vec()
}

fn stats_nodes(lines: &[&str]) -> Vec<u8> {
    let nodes: Vec<(NodeKey, NodeEntry)> = lines
        .chunks(5)
        .map(|node| {
            let key = node[0].strip_prefix("STAT ").and_then(|rest| rest.split_once(":role "));
            let key = key.expect("the first line of a node is its role").0;
            let stat = |what: &str| value(node, &format!("STAT {key}:{what} "));
            let entry = NodeEntry {
                role: Role::from_word(stat("role")).expect("a role"),
                state: State::from_word(stat("state")).expect("a state"),
                partition: number(stat("partition")),
                balance: number(stat("balance")),
                thread_type: number(stat("thread_type")),
            };
            (NodeKey::parse(key).expect("a key"), entry)
        })
        .collect();
    StatsNodes::encode(nodes.iter().map(|(key, entry)| (key, entry))).to_vec()
}

fn stats_process(lines: &[&str]) -> Vec<u8> {
    let stat = |what: &str| value(lines, &format!("STAT {what} "));
    let micros = |what: &str| number(&stat(what).replace('.', ""));
    StatsProcess {
        pid: number(stat("pid")),
        uptime: number(stat("uptime")),
        time: number(stat("time")),
        user_micros: micros("rusage_user"),
        system_micros: micros("rusage_system"),
        curr_connections: number(stat("curr_connections")),
        total_connections: number(stat("total_connections")),
        bytes_read: number(stat("bytes_read")),
        bytes_written: number(stat("bytes_written")),
        threads: number(stat("threads")),
        node_map_version: number(stat("node_map_version")),
    }
    .encode()
}

fn stats_threads(lines: &[&str]) -> Vec<u8> {
    let threads: Vec<Thread> = lines
        .chunks(8)
        .map(|thread| {
            let id = thread[0].strip_prefix("STAT ").and_then(|rest| rest.split_once(":type "));
            let (id, kind) = id.expect("the first line of a thread is its type");
            let stat = |what: &str| value(thread, &format!("STAT {id}:{what} "));
            Thread {
                id: number(id),
                kind: match number(kind) {
                    1 => ThreadKind::Request,
                    2 => ThreadKind::Alarm,
                    4 => ThreadKind::Controller,
                    monitor => ThreadKind::Monitor(monitor),
                },
                peer: Some(stat("peer").to_owned()).filter(|peer| peer != ":0"),
                op: if stat("op") == "stats" { "stats" } else { "" },
                uptime: number(stat("uptime")),
                state: match stat("state") {
                    "wait" => ThreadState::Wait,
                    "connect" => ThreadState::Connect,
                    _ => ThreadState::Execute,
                },
                queue: number(stat("queue")),
                behind: number(stat("behind")),
            }
        })
        .collect();
    StatsThreads::encode(&threads)
}

fn variables(lines: &[&str]) -> Vec<u8> {
    let variable = |name: &str| value(lines, &format!("{name}:")).trim_start().to_owned();
    Variables {
        config_path: variable("config_path"),
        pid_path: variable("pid_path"),
        daemonize: variable("daemonize") == "true",
        data_dir: variable("data_dir"),
        max_connection: number(&variable("max_connection")),
        monitor_threshold: number(&variable("monitor_threshold")),
        monitor_interval: number(&variable("monitor_interval")),
        monitor_read_timeout: number(&variable("monitor_read_timeout")),
        net_read_timeout: number(&variable("net_read_timeout")),
        hash: HashSettings::default(),
        server_name: variable("server_name"),
        server_port: number(&variable("server_port")),
        server_socket: variable("server_socket"),
        stack_size: number(&variable("stack_size")),
        thread_pool_size: number(&variable("thread_pool_size")),
    }
    .encode()
}
