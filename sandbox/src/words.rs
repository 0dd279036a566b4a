//! What a person reads: the welcome with lines to try, and the topology as it changes.

use std::net::SocketAddr;
use std::path::PathBuf;

use flare_e2e::suite::map::{Entry, NodeMap};

/// What is printed once every partition has its copies.
pub(crate) fn welcome(index: SocketAddr, page: SocketAddr, nodes: &[SocketAddr]) -> String {
    let first = nodes.first().copied().unwrap_or(index);
    let last = nodes.last().copied().unwrap_or(index);
    format!(
        "\n  The page:   http://{page}/\n  The index:  {index}\n\n\
         Try, in another terminal:\n\n  \
         {}\n  {}\n  {}\n\n\
         A key is written through one node and read through another. On the page, kill a master\n\
         and watch a slave take over; then read the key again.\n\
         Ctrl-C ends everything and leaves nothing behind.\n",
        talk(r"set hello 0 0 5\r\nworld\r\nquit\r\n", first),
        talk(r"get hello\r\nquit\r\n", last),
        talk(r"stats nodes\r\nquit\r\n", index),
    )
}

/// A shell line that sends this and shows the answer, with what this machine has.
fn talk(request: &str, to: SocketAddr) -> String {
    let (host, port) = (to.ip(), to.port());
    if has_program("nc") {
        format!("printf '{request}' | nc {host} {port}")
    } else {
        format!("bash -c \"exec 3<>/dev/tcp/{host}/{port}; printf '{request}' >&3; cat <&3\"")
    }
}

/// Is this program on the search path?
pub(crate) fn has_program(name: &str) -> bool {
    program(name).is_some()
}

fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// One line per node whose entry differs between two maps.
pub(crate) fn changes(before: &NodeMap, after: &NodeMap) -> Vec<String> {
    let mut lines = Vec::new();
    for (key, entry) in &after.0 {
        match before.0.get(key) {
            None => lines.push(format!("{key}  new: {}", shown(entry))),
            Some(old) if shown(old) != shown(entry) => {
                lines.push(format!("{key}  {} -> {}", shown(old), shown(entry)));
            }
            Some(_) => {}
        }
    }
    for key in before.0.keys().filter(|key| !after.0.contains_key(*key)) {
        lines.push(format!("{key}  forgotten"));
    }
    lines
}

/// Where everything stands, a line per node.
pub(crate) fn table(map: &NodeMap) -> String {
    map.0.iter().map(|(key, entry)| format!("  {key}  {}\n", shown(entry))).collect()
}

fn shown(entry: &Entry) -> String {
    let words = format!("{:?} {:?}", entry.role, entry.state).to_lowercase();
    if entry.partition < 0 { words } else { format!("{words}, partition {}", entry.partition) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flare_e2e::suite::map::{Role, State};

    fn map(entries: &[(&str, Role, State, i32)]) -> NodeMap {
        let entry = |(key, role, state, partition): &(&str, Role, State, i32)| {
            let entry = Entry {
                role: *role,
                state: *state,
                partition: *partition,
                balance: 1,
                thread_type: 16,
            };
            (key.to_string(), entry)
        };
        NodeMap(entries.iter().map(entry).collect())
    }

    #[test]
    fn a_failover_reads_as_two_lines() {
        let before = map(&[
            ("h:1", Role::Master, State::Active, 0),
            ("h:2", Role::Slave, State::Active, 0),
            ("h:3", Role::Proxy, State::Active, -1),
        ]);
        let after = map(&[
            ("h:1", Role::Proxy, State::Down, -1),
            ("h:2", Role::Master, State::Active, 0),
            ("h:3", Role::Proxy, State::Active, -1),
        ]);
        assert_eq!(
            changes(&before, &after),
            [
                "h:1  master active, partition 0 -> proxy down",
                "h:2  slave active, partition 0 -> master active, partition 0",
            ]
        );
    }

    #[test]
    fn nodes_that_come_and_go_are_named() {
        let one = map(&[("h:1", Role::Proxy, State::Active, -1)]);
        assert_eq!(changes(&map(&[]), &one), ["h:1  new: proxy active"]);
        assert_eq!(changes(&one, &map(&[])), ["h:1  forgotten"]);
    }
}
