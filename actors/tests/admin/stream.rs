//! The event stream: what was, what is, where one left off, and readers that are too slow.

use std::sync::Arc;
use std::time::Duration;

use flare_actors::admin::EVENT_READERS_MAX;
use flare_actors::overview::EventRecord;
use flare_core::model::{NodeEntry, NodeKey, Role, State};
use flare_core::topology::{Blocked, Event};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::probe::{Do, Probe, get, open, two_by_two};
use super::with_admin;

fn record(number: u64) -> EventRecord {
    let event = Event::NodeChanged {
        node: NodeKey::new("a", 12121),
        from: None,
        to: Some(NodeEntry { role: Role::Master, state: State::Down, ..NodeEntry::new_proxy(16) }),
        why: "its port refuses connections".into(),
        version: 40 + number,
    };
    EventRecord { number, at_unix_millis: 1_700_000_000_000 + number, event: Arc::new(event) }
}

/// Reads a stream of events line by line.
struct Reader(BufReader<TcpStream>);

impl Reader {
    /// The next line that starts like this; `None` when the stream ended before. Lines that keep
    /// the connection alive do not put the deadline off.
    async fn line(&mut self, start: &str) -> Option<String> {
        let search = async {
            loop {
                let mut line = String::new();
                if self.0.read_line(&mut line).await.ok()? == 0 {
                    return None;
                }
                if line.starts_with(start) {
                    return Some(line.trim_end().to_owned());
                }
            }
        };
        timeout(Duration::from_secs(20), search).await.expect("the line within the deadline")
    }
}

async fn read(server: std::net::SocketAddr, headers: &[&str]) -> Reader {
    Reader(BufReader::new(open(server, "GET /api/v1/events", headers, "").await))
}

async fn happen(probe: &actix::Addr<Probe>, numbers: std::ops::RangeInclusive<u64>) {
    let tell = move |probe: &mut Probe| {
        for number in numbers {
            probe.recent.push(record(number));
            let _nobody_listens = probe.events.send(record(number));
        }
    };
    probe.send(Do(Box::new(tell))).await.expect("the probe lives");
}

#[test]
fn a_reader_gets_what_was_and_then_what_happens() {
    with_admin(
        Probe::new(two_by_two()),
        |_| (),
        |server, probe| async move {
            happen(&probe, 1..=1).await;
            let mut reader = read(server, &[]).await;
            assert!(reader.line("HTTP/1.1 200").await.is_some());
            assert_eq!(reader.line("retry:").await.unwrap(), "retry: 1000");
            assert!(reader.line("id: ").await.unwrap().ends_with(".1"));
            let data = reader.line("data: ").await.unwrap();
            let event: serde_json::Value = serde_json::from_str(&data[6..]).unwrap();
            assert_eq!(
                (event["kind"].as_str(), event["severity"].as_str()),
                (Some("node_changed"), Some("warning"))
            );
            assert_eq!(
                (event["node"].as_str(), event["version"].as_u64()),
                (Some("a:12121"), Some(41))
            );
            assert_eq!(
                event["sentence"],
                "a:12121 is new: master down (its port refuses connections)"
            );
            happen(&probe, 2..=2).await;
            assert!(reader.line("id: ").await.unwrap().ends_with(".2"));
        },
    );
}

#[test]
fn a_reader_that_comes_back_gets_what_it_missed() {
    with_admin(
        Probe::new(two_by_two()),
        |_| (),
        |server, probe| async move {
            happen(&probe, 1..=2).await;
            let mut reader = read(server, &[]).await;
            reader.line("id: ").await.unwrap();
            let id = reader.line("id: ").await.unwrap().split_off(4);
            happen(&probe, 3..=4).await;
            let mut again = read(server, &[&format!("Last-Event-ID: {id}")]).await;
            assert!(again.line("id: ").await.unwrap().ends_with(".3"));
            // An id of another life of the index says nothing about this one.
            let mut other = read(server, &["Last-Event-ID: 17.99"]).await;
            assert!(other.line("id: ").await.unwrap().ends_with(".1"));
        },
    );
}

#[test]
fn a_reader_that_is_too_slow_is_cut_off() {
    with_admin(
        Probe::new(two_by_two()),
        |_| (),
        |server, probe| async move {
            let mut slow = read(server, &[]).await;
            slow.line("retry:").await.unwrap();
            // More than the probe's channel holds, before the server can pass any of it on.
            happen(&probe, 1..=50).await;
            while slow.line("id: ").await.is_some() {}
        },
    );
}

#[test]
fn an_obstacle_that_goes_away_is_told() {
    with_admin(
        Probe::new(two_by_two()),
        |_| (),
        |server, probe| async move {
            let tell = |probe: &mut Probe| {
                let event =
                    Arc::new(Event::Unblocked(Blocked::MissingNodes { have: 3, needed: 4 }));
                probe.recent.push(EventRecord { number: 1, at_unix_millis: 0, event });
            };
            probe.send(Do(Box::new(tell))).await.unwrap();
            let data = read(server, &[]).await.line("data: ").await.unwrap();
            assert!(data.contains("No longer so: The wanted shape needs 4 nodes"), "{data}");
        },
    );
}

#[test]
fn readers_of_events_are_bounded_and_take_nothing_from_probes() {
    with_admin(
        Probe::new(two_by_two()),
        |_| (),
        |server, probe| async move {
            let mut readers = Vec::new();
            for _ in 0..EVENT_READERS_MAX {
                let mut reader = read(server, &[]).await;
                assert!(reader.line("HTTP/1.1 200").await.is_some());
                readers.push(reader);
            }
            let mut refused = read(server, &[]).await;
            assert!(refused.line("HTTP/1.1 503").await.is_some());
            let why = refused.line("{").await.expect("a sentence");
            assert!(why.contains("100 readers of events at a time"), "{why}");
            assert_eq!(get(server, "/healthz").await.status, 200);
            assert_eq!(get(server, "/api/v1/topology").await.status, 200);

            // The places of readers that went away are free again, once that was noticed: by what
            // cannot be sent to them.
            drop(readers);
            let again = async {
                for number in 1.. {
                    happen(&probe, number..=number).await;
                    if read(server, &[]).await.line("HTTP/1.1 200").await.is_some() {
                        break;
                    }
                }
            };
            timeout(Duration::from_secs(60), again).await.expect("a free place");
        },
    );
}
