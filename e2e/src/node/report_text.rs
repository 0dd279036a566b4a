//! What `stats` and `show variables` say (flare-protocol.md 4.9; exact text as recorded in
//! `node-observation-commands.txt`).

use std::cell::Cell;
use std::io::Write as _;

use super::clock::unix_seconds;
use super::command::{Statistics, ThreadFilter};
use super::core::Node;
use super::threads::kind;

/// Size of upstream's empty database file.
const EMPTY_FILE_BYTES: usize = 528_704;
/// Column of the values of `show variables`; longer names are followed by one space.
const VALUE_COLUMN: usize = 24;

/// The answer to a `stats` command.
pub(crate) fn statistics(node: &Node, which: Statistics) -> Vec<u8> {
    let mut out = Vec::new();
    match which {
        Statistics::General => general(node, &mut out),
        Statistics::Empty => {}
        Statistics::Nodes => nodes(node, &mut out),
        Statistics::Threads(filter) => threads(node, filter, &mut out),
    }
    out.extend_from_slice(b"END\r\n");
    out
}

fn line(out: &mut Vec<u8>, name: &str, value: impl std::fmt::Display) {
    write!(out, "STAT {name} {value}\r\n").expect("writing to memory does not fail");
}

fn general(node: &Node, out: &mut Vec<u8>) {
    let (items, bytes) = {
        let storage = node.storage.borrow();
        (storage.len(), EMPTY_FILE_BYTES + storage.bytes())
    };
    let (user, system) = processor_times();
    let c = &node.counters;
    line(out, "pid", std::process::id());
    line(out, "uptime", node.uptime());
    line(out, "time", unix_seconds());
    line(out, "version", "1.3.4");
    line(out, "pointer_size", 64);
    line(out, "rusage_user", user);
    line(out, "rusage_system", system);
    line(out, "curr_items", items);
    line(out, "total_items", c.total_items.get());
    line(out, "bytes", bytes);
    let counters: [(&str, &Cell<u64>); 2] =
        [("curr_connections", &c.curr_connections), ("total_connections", &c.total_connections)];
    counters.into_iter().for_each(|(name, value)| line(out, name, value.get()));
    line(out, "connection_structures", 0);
    let counters: [(&str, &Cell<u64>); 15] = [
        ("cmd_get", &c.cmd_get),
        ("cmd_set", &c.cmd_set),
        ("get_hits", &c.get_hits),
        ("get_misses", &c.get_misses),
        ("delete_hits", &c.delete_hits),
        ("delete_misses", &c.delete_misses),
        ("incr_hits", &c.incr_hits),
        ("incr_misses", &c.incr_misses),
        ("decr_hits", &c.decr_hits),
        ("decr_misses", &c.decr_misses),
        ("cas_hits", &c.cas_hits),
        ("cas_misses", &c.cas_misses),
        ("cas_badval", &c.cas_badval),
        ("touch_hits", &c.touch_hits),
        ("touch_misses", &c.touch_misses),
    ];
    counters.into_iter().for_each(|(name, value)| line(out, name, value.get()));
    line(out, "evictions", 0);
    line(out, "bytes_read", c.bytes_read.get());
    line(out, "bytes_written", c.bytes_written.get());
    line(out, "limit_maxbytes", 0);
    line(out, "threads", node.threads.count());
    line(out, "pool_threads", 0);
    line(out, "node_map_version", node.cluster.borrow().version());
}

/// User and system time of this process as `s.uuuuuu`, from the system's clock ticks (1/100 s).
fn processor_times() -> (String, String) {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // the name in parentheses may contain blanks; utime and stime are the 14th and 15th fields
    let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let mut ticks = fields.split_whitespace().skip(11).map(|t| t.parse::<u64>().unwrap_or(0));
    let mut next = || {
        let ticks = ticks.next().unwrap_or(0);
        format!("{}.{:06}", ticks / 100, ticks % 100 * 10_000)
    };
    (next(), next())
}

fn nodes(node: &Node, out: &mut Vec<u8>) {
    for (key, info) in node.cluster.borrow().nodes() {
        line(out, &format!("{key}:role"), info.role);
        line(out, &format!("{key}:state"), info.state);
        line(out, &format!("{key}:partition"), info.partition);
        line(out, &format!("{key}:balance"), info.balance);
        line(out, &format!("{key}:thread_type"), info.thread_type);
    }
}

fn threads(node: &Node, filter: ThreadFilter, out: &mut Vec<u8>) {
    match filter {
        ThreadFilter::All => node.threads.write(out, None),
        ThreadFilter::Request => node.threads.write(out, Some(&[kind::REQUEST])),
        ThreadFilter::Slave => {
            let slaves = node.cluster.borrow().own_slaves();
            let types: Vec<i32> = slaves.iter().map(|slave| slave.thread_type).collect();
            node.threads.write(out, Some(&types));
        }
        ThreadFilter::Queue => line(out, "total_thread_queue", node.threads.queued()),
    }
}

/// The keys that `show variables` prints, in its order; the few that are not simply settings are
/// filled in by [`variables`].
const VARIABLES: &[&str] = &[
    "back-log",
    "config-path",
    "pid-path",
    "daemonize",
    "data-dir",
    "index-server(s)",
    "max-connection",
    "mutex-slot",
    "noreply-window-limit",
    "net-read-timeout",
    "proxy-concurrency",
    "reconstruction-interval",
    "reconstruction-bwlimit",
    "replication-type",
    "server-name",
    "server-port",
    "server-socket",
    "stack-size",
    "storage-ap",
    "storage-bucket-size",
    "storage-cache-size",
    "storage-compress",
    "storage-large",
    "storage-lmemb",
    "storage-nmemb",
    "storage-dfunit",
    "storage-type",
    "thread-pool-size",
    "proxy-prior-netmask",
    "max-total-thread-queue",
    "time-watcher-enabled",
    "time-watcher-polling-interval-msec",
    "storage-access-watch-threshold-warn-msec",
    "storage-access-watch-threshold-ping-ng-msec",
    "cluster-replication",
    "cluster-replication-server-name",
    "cluster-replication-server-port",
    "cluster-replication-concurrency",
    "cluster-replication-mode",
];

/// The answer to `show variables`.
pub(crate) fn variables(node: &Node) -> Vec<u8> {
    let settings = node.settings.borrow();
    let mut out = Vec::new();
    for name in VARIABLES {
        let value = match *name {
            "config-path" => node.config_path.clone(),
            "pid-path" => node.pid_path.clone(),
            "index-server(s)" => settings.index_servers().join(","),
            "server-name" => node.host.clone(),
            "server-port" => node.port.to_string(),
            "cluster-replication" => u8::from(settings.flag(name)).to_string(),
            "cluster-replication-concurrency" => {
                settings.cluster_replication_concurrency().to_string()
            }
            _ => settings.text(name).to_owned(),
        };
        let label = format!("{}:", name.replace('-', "_"));
        let gap = if label.len() > VALUE_COLUMN { " " } else { "" };
        write!(out, "{label:<VALUE_COLUMN$}{gap}{value}\r\n")
            .expect("writing to memory does not fail");
    }
    out.extend_from_slice(b"END\r\n");
    out
}

#[cfg(test)]
#[test]
fn every_variable_is_a_setting() {
    for name in VARIABLES {
        let known = super::settings::KEYS.iter().any(|key| key.name == *name);
        assert!(known || ["config-path", "pid-path", "index-server(s)"].contains(name), "{name}");
    }
}
