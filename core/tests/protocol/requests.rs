//! What the index makes of single lines: every case below was put to upstream's flarei 1.3.4 on a
//! socket, ended by LF, and is answered here as it was answered there. Lines that we take
//! differently on purpose (names that can't be ones) have a test of their own.

use flare_core::model::{NodeKey, Role, State};
use flare_core::protocol::command::{
    Kill, Meta, NodeAdd, NodeLeave, NodeRemove, NodeRole, NodeState, Ping, Quit, ShowVariables,
    Shutdown, Stats, Verbosity, Version,
};
use flare_core::protocol::{Malformed, Request, reply};

fn key(name: &str, port: i32) -> NodeKey {
    NodeKey::new(name, port)
}

fn role(role: Role, balance: i32, partition: i32) -> Request {
    Request::NodeRole(NodeRole { node: key("z", 1), role, balance, partition })
}

fn padded(zeros: usize, end: &str) -> String {
    format!("{}{end}", "0".repeat(zeros))
}

#[track_caller]
fn accepts(line: impl AsRef<[u8]>, expected: &Request) {
    let line = line.as_ref();
    assert_eq!(Request::parse(line).as_ref(), Ok(expected), "{}", line.escape_ascii());
}

#[track_caller]
fn rejects(line: impl AsRef<[u8]>) {
    let line = line.as_ref();
    let rejected = Request::parse(line).expect_err(&line.escape_ascii().to_string());
    assert_eq!(rejected.reply, reply::ERROR, "{}", line.escape_ascii());
}

#[test]
fn words_are_separated_by_spaces_only_and_may_be_surrounded_by_them() {
    for line in ["ping", " ping", "  ping  ", "ping \0x", "ping\0", "ping\0\0x"] {
        accepts(line, &Request::Ping(Ping));
    }
    accepts(format!("{}ping", " ".repeat(5000)), &Request::Ping(Ping));
    accepts(format!("ping{}", " ".repeat(5000)), &Request::Ping(Ping));
    for line in ["\tping", "ping\t", "pi\rng", "ping\r", "ping \r x", "\rping", "\0ping", "\0"] {
        rejects(line);
    }
    rejects(b"ping\x80");
    rejects(b"\x81ping");
    rejects(b" \x80");
}

#[test]
fn commands_are_lower_case_and_take_no_surplus() {
    let unknown = ["", " ", "foo", "PING", "Ping", "get key", "set k 0 0 1", "flush_all", "dump"];
    for line in unknown {
        rejects(line);
        assert_eq!(Request::parse(line.as_bytes()).unwrap_err().reason, Malformed::Command);
    }
    for line in ["ping extra", "version 1", "meta x", "quitx", "nodeadd z 1", "shutdownx q 1"] {
        rejects(line);
    }
    for long in [1023, 1024, 2000, 10_000] {
        rejects("p".repeat(long));
        rejects(format!("ping {}", "x".repeat(long)));
        rejects(format!("{} ping", "p".repeat(long)));
    }
    accepts("version", &Request::Version(Version));
    accepts("meta", &Request::Meta(Meta));
}

#[test]
fn a_proxy_prefix_is_stepped_over_at_the_very_beginning_only() {
    for line in ["<a:1,b:2>ping", "<a:1> ping", "<>ping", "<a,b>ping", "<a b>ping", "<a:1,>ping"] {
        accepts(line, &Request::Ping(Ping));
    }
    accepts(format!("<{}>ping", "a:1,".repeat(3000)), &Request::Ping(Ping));
    accepts("<a:1>stats nodes", &Request::Stats(Stats::Nodes));
    accepts("<a:1>quit", &Request::Quit(Quit));
    for line in [" <a:1>ping", "<a:1>", "<a:1", "<a:1ping", "<a:1><b:2>ping", "ping<a>"] {
        rejects(line);
    }
    for line in ["<a:1>ping x", "<a:1>foo", "<a\0b>ping", "<>\0ping"] {
        rejects(line);
    }
}

#[test]
fn quit_with_anything_behind_it_is_not_answered_and_does_not_quit() {
    for line in ["quit", "quit ", "  quit", "quit\0", "quit \0x"] {
        accepts(line, &Request::Quit(Quit));
    }
    for line in ["quit x", "quit now or never", "<a:1>quit x"] {
        let rejected = Request::parse(line.as_bytes()).unwrap_err();
        assert_eq!((rejected.reason, rejected.reply), (Malformed::Surplus, &b""[..]), "{line}");
    }
}

#[test]
fn node_add_wants_a_name_and_a_port_of_32_bits() {
    let add = |name: &str, port| Request::NodeAdd(NodeAdd { node: key(name, port) });
    accepts("node add z1 1", &add("z1", 1));
    accepts("node  add  z1  1 ", &add("z1", 1));
    accepts("node add 12 1", &add("12", 1));
    accepts("node add <z16> 7", &add("<z16>", 7));
    accepts("node add z13 007", &add("z13", 7));
    accepts("node add z17 7\0x", &add("z17", 7));
    for port in [-4, 0, 65_536, i32::MAX, i32::MIN] {
        accepts(format!("node add z {port}"), &add("z", port));
    }
    for port in ["2147483648", "-2147483649", "1-2", "--1", "-", "+1", "1x", "abc", "1 x", "1\t"] {
        rejects(format!("node add z {port}"));
    }
    for line in ["node", "node ", "node add", "node add  ", "node add z12", "node ADD x 1"] {
        rejects(line);
    }
    for line in ["node addz 1", "node add2 x 1", "node sync 1", "node sync", "node bogus"] {
        rejects(line);
    }
    for line in ["node add z18\0 7", "node\0add x 1", "node add\0z 1", "node \0add z 1"] {
        rejects(line);
    }
}

#[test]
fn a_name_takes_1023_bytes_and_the_port_is_read_from_what_follows_them() {
    let longest = "n".repeat(1023);
    let add = |port| Request::NodeAdd(NodeAdd { node: key(&longest, port) });
    accepts(format!("node add {longest} 1"), &add(1));
    accepts(format!("node add {longest}5"), &add(5));
    rejects(format!("node add {longest}5 6"));
    rejects(format!("node add {longest}n 1"));
    rejects(format!("shutdown {longest}n 1"));
}

#[test]
fn a_number_takes_as_many_digits_as_there_is_room_for() {
    let remove = Request::NodeRemove(NodeRemove { node: key("q", 1) });
    accepts(format!("node remove q {}", padded(1022, "1")), &remove);
    rejects(format!("node remove q {}", padded(1023, "1")));
    accepts(format!("kill {}", padded(1022, "9")), &Request::Kill(Kill { thread_id: 9 }));
    rejects(format!("kill {}", padded(1023, "9")));
    let verbosity = Request::Verbosity(Verbosity { noreply: false });
    accepts(format!("verbosity {}", padded(8190, "1")), &verbosity);
    rejects(format!("verbosity {}", padded(8191, "1")));
    // What does not fit of the balance is read as the partition.
    let line = format!("node role z 1 proxy {}", padded(8191, "7"));
    accepts(line, &role(Role::Proxy, 0, 7));
}

#[test]
fn node_role_may_leave_balance_and_partition_out_and_ignores_the_rest() {
    accepts("node role z 1 master", &role(Role::Master, -1, -1));
    accepts("node role z 1 slave 3", &role(Role::Slave, 3, -1));
    accepts("node role z 1 proxy 1 2", &role(Role::Proxy, 1, 2));
    accepts("node role z 1 proxy -1 -1", &role(Role::Proxy, -1, -1));
    accepts("node role z 1 proxy -0 -0", &role(Role::Proxy, 0, 0));
    accepts("node role z 1proxy", &role(Role::Proxy, -1, -1));
    for rest in ["x", "x 5", "\0 x"] {
        accepts(format!("node role z 1 proxy {rest}"), &role(Role::Proxy, -1, -1));
    }
    for rest in ["1x", "1 x", "1\t1"] {
        accepts(format!("node role z 1 proxy {rest}"), &role(Role::Proxy, 1, -1));
    }
    let long = format!("1 2 {}", "x".repeat(9000));
    for rest in ["1 2x", "1 2 x", "1 2 3 4 5", &long] {
        accepts(format!("node role z 1 proxy {rest}"), &role(Role::Proxy, 1, 2));
    }
    for rest in ["--1", "-", "1-1", "1 --1", "1 -", "1 2-", "2147483648", "1 -2147483649"] {
        rejects(format!("node role z 1 proxy {rest}"));
    }
    for rest in ["", " z", " z 1", " z 1 Proxy", " z 1 proxy1", " z 1 0", " z x proxy"] {
        rejects(format!("node role{rest}"));
    }
    rejects("node role z 1 proxy\t1");
    rejects(format!("node role z 1 {}", "x".repeat(9000)));
}

#[test]
fn node_state_knows_four_words() {
    let states = [
        ("active", State::Active),
        ("prepare", State::Prepare),
        ("down", State::Down),
        ("ready", State::Ready),
    ];
    for (word, state) in states {
        let expected = Request::NodeState(NodeState { node: key("z", 1), state });
        accepts(format!("node state z 1 {word}"), &expected);
        accepts(format!("node state z 1{word}  "), &expected);
        accepts(format!("node state z 1 {word}\0x"), &expected);
        rejects(format!("node state z 1 {word} x"));
        rejects(format!("node state z 1 {word}s"));
        rejects(format!("node state z 1 {}", word.to_uppercase()));
    }
    for rest in ["", " z", " z 1", " z active", " z 1x active", " z 1 0", " z 1 bogus x"] {
        rejects(format!("node state{rest}"));
    }
    rejects(b"node state z 2 activ\xc3\xa9");
}

#[test]
fn node_remove_and_shutdown_take_a_node_and_nothing_else() {
    accepts("node remove q -1", &Request::NodeRemove(NodeRemove { node: key("q", -1) }));
    accepts("shutdown  q  1 ", &Request::Shutdown(Shutdown { node: key("q", 1) }));
    let leave = |cancel| Request::NodeLeave(NodeLeave { node: key("q", 1), cancel });
    accepts("node leave q 1", &leave(false));
    accepts("node leave q 1  cancel", &leave(true));
    rejects("node leave q 1 cancel x");
    for command in ["node remove", "node leave", "shutdown"] {
        let long = format!(" q 1 {}", "x".repeat(9000));
        for rest in ["", " q", " q x", " q 1x", " q 1 x", " q 1\tx", " q 1 noreply", &long] {
            rejects(format!("{command}{rest}"));
        }
    }
}

#[test]
fn stats_takes_one_or_two_words_and_ignores_the_rest() {
    let topics = [
        ("", Stats::Process),
        (" ", Stats::Process),
        (" items x", Stats::Empty),
        (" slabs", Stats::Empty),
        (" sizes a b", Stats::Empty),
        ("  nodes", Stats::Nodes),
        (" nodes threads", Stats::Nodes),
        (" nodes extra words", Stats::Nodes),
        (" threads", Stats::Threads),
        (" threads \0slave", Stats::Threads),
        (" threads request slave", Stats::RequestThreads),
        (" threads  slave x", Stats::SlaveThreads),
        (" threads queue x", Stats::ThreadQueue),
    ];
    for (rest, stats) in topics {
        accepts(format!("stats{rest}"), &Request::Stats(stats));
    }
    for rest in ["bogus", "itemsx", "nodes\t", "thread", "noreply", "threads bogus"] {
        rejects(format!("stats {rest}"));
    }
    for long in [1023, 8191, 8192] {
        rejects(format!("stats {}", "x".repeat(long)));
        rejects(format!("stats threads {}", "x".repeat(long)));
    }
}

#[test]
fn show_knows_variables_and_ignores_the_rest() {
    let long = format!("show variables {}", "x".repeat(9000));
    for line in ["show variables", "show  variables extra", &long] {
        accepts(line, &Request::ShowVariables(ShowVariables));
    }
    for line in ["show", "show threads", "show variablesx", "show x variables"] {
        rejects(line);
    }
}

#[test]
fn kill_takes_an_unsigned_number_and_a_minus_sign_wraps() {
    let ids: [(&str, u32); 7] = [
        ("999999", 999_999),
        ("0", 0),
        ("-0", 0),
        ("-1", u32::MAX),
        ("4294967295", u32::MAX),
        ("-4294967295", 1),
        ("999\0x", 999),
    ];
    for (word, thread_id) in ids {
        accepts(format!("kill {word}"), &Request::Kill(Kill { thread_id }));
    }
    for rest in ["", "abc", "x9", "999x", "-", "--1", "1-2", "4294967296", "-4294967296"] {
        rejects(format!("kill {rest}"));
    }
    for rest in ["1 2", "999 noreply", "999\t", "\t999", "18446744073709551615"] {
        rejects(format!("kill {rest}"));
    }
}

#[test]
fn verbosity_takes_a_level_and_options_but_not_sync() {
    for rest in ["1", "-1", "1 async", "-2147483648"] {
        accepts(format!("verbosity {rest}"), &Request::Verbosity(Verbosity { noreply: false }));
    }
    for rest in ["1 noreply", "1noreply", "1 noreply noreply", "1 async noreply"] {
        accepts(format!("verbosity {rest}"), &Request::Verbosity(Verbosity { noreply: true }));
    }
    for rest in ["", "abc", "1x", "1 x", "1 noreply x", "1 sync", "1 noreply sync", "1 2"] {
        rejects(format!("verbosity {rest}"));
    }
    for rest in ["1-2", "-", "--1", "+1", "noreply", "noreply 1", "2147483648", "-2147483649"] {
        rejects(format!("verbosity {rest}"));
    }
    rejects(format!("verbosity 1 noreply{}", "x".repeat(9000)));
}

#[test]
fn an_unusable_name_is_refused_as_an_unknown_node_is_once_the_line_is_in_order() {
    let names = ["::1", "h:1", "z\t14", "z\r15", "\u{7f}"];
    for name in names {
        let commands = [
            (format!("node add {name} 1"), NodeAdd::REFUSED),
            (format!("node role {name} 1 proxy"), NodeRole::REFUSED),
            (format!("node state {name} 1 down"), NodeState::REFUSED),
            (format!("node remove {name} 1"), NodeRemove::REFUSED),
            (format!("node leave {name} 1"), NodeLeave::REFUSED),
            (format!("shutdown {name} 1"), Shutdown::REFUSED),
        ];
        for (line, refused) in commands {
            let rejected = Request::parse(line.as_bytes()).unwrap_err();
            assert_eq!((rejected.reason, rejected.reply), (Malformed::Name, refused), "{line:?}");
        }
        rejects(format!("node add {name} 1 x"));
    }
    assert_eq!(Request::parse(b"node add z\x8013 7").unwrap_err().reply, NodeAdd::REFUSED);
}

/// Upstream does so too when the line ends in LF. When it ends in CRLF, it goes on behind a NUL
/// after `ping`, `quit`, `stats`, `show` and `node add`, which nobody sends.
#[test]
fn a_nul_ends_the_line() {
    accepts("ping\0x", &Request::Ping(Ping));
    accepts("quit\0x", &Request::Quit(Quit));
    accepts("stats\0nodes", &Request::Stats(Stats::Process));
    rejects("show\0variables");
}
