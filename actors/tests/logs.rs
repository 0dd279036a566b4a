//! The log: the filter changes while it runs, and one connection alone is put on wire level.

use std::io::{self, Write};
use std::sync::mpsc;

use flare_actors::logs::{self, Direction, LogControl, LogFormat, WIRE_CONNECTIONS_MAX};

/// A writer that hands each line to the test.
#[derive(Clone)]
struct Lines(mpsc::Sender<String>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.send(String::from_utf8_lossy(bytes).into_owned()).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn with_log(format: LogFormat, act: impl FnOnce(&LogControl)) -> Vec<String> {
    let (sender, receiver) = mpsc::channel();
    let lines = Lines(sender);
    let (subscriber, control) =
        logs::subscriber(format, "info", false, move || lines.clone()).expect("info is a filter");
    tracing::subscriber::with_default(subscriber, || act(&control));
    receiver.try_iter().collect()
}

#[test]
fn the_filter_changes_while_the_log_runs() {
    let lines = with_log(LogFormat::Text, |control| {
        for step in 0..3 {
            tracing::debug!(step, "detail");
            tracing::info!(step, "news");
            control.set_filter(["debug", "off", "info"][step]).unwrap();
        }
    });
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert!(lines[0].contains("INFO") && lines[0].contains("news step=0"), "{lines:?}");
    assert!(lines[1].contains("DEBUG") && lines[1].contains("detail step=1"), "{lines:?}");
    assert!(lines[2].contains("news step=1"), "{lines:?}");
}

#[test]
fn one_connection_is_put_on_wire_level_and_taken_off() {
    let lines = with_log(LogFormat::Text, |control| {
        // The span is older than the wish, as the connections that one wants to see are.
        let span = tracing::debug_span!(target: "flare_actors", "connection", conn = 7_u64);
        let speak = || {
            span.in_scope(|| logs::wire(7, Direction::In, b"ping\r\n"));
            logs::wire(8, Direction::In, b"version\r\n");
        };
        speak();
        control.set_wire(7, true).unwrap();
        speak();
        logs::wire(7, Direction::Out, b"OK\r\n\x00");
        control.set_filter("error").unwrap();
        logs::wire(7, Direction::Out, b"END\r\n");
        assert_eq!(control.status().wire.into_iter().collect::<Vec<_>>(), [7]);
        control.set_wire(7, false).unwrap();
        speak();
    });
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert!(lines[0].contains("connection{conn=7}"), "{lines:?}");
    assert!(lines[0].contains(r"in conn=7 length=6 bytes=ping\r\n"), "{lines:?}");
    assert!(lines[1].contains(r"out conn=7 length=5 bytes=OK\r\n\x00"), "{lines:?}");
    assert!(lines[2].contains(r"bytes=END\r\n"), "{lines:?}");
}

#[test]
fn json_lines_are_objects_with_fields_at_the_top() {
    let lines = with_log(LogFormat::Json, |_| {
        let span = tracing::info_span!(target: "flare_actors", "connection", conn = 7_u64);
        span.in_scope(|| tracing::info!(node = "a:1", version = 3, "node changed"));
    });
    let line: serde_json::Value = serde_json::from_str(&lines[0]).unwrap();
    assert_eq!(line["message"], "node changed");
    assert_eq!((line["node"].as_str(), line["version"].as_i64()), (Some("a:1"), Some(3)));
    assert_eq!(line["span"]["conn"], 7);
}

#[test]
fn wishes_that_cannot_be_followed_are_sentences_and_change_nothing() {
    with_log(LogFormat::Text, |control| {
        let error = control.set_filter("flare=loud").unwrap_err().to_string();
        assert!(error.contains("module=level"), "{error}");
        assert!(control.set_filter(&"x".repeat(1025)).unwrap_err().to_string().contains("1024"));
        assert_eq!(control.status().filter, "info");
        for conn in 0..WIRE_CONNECTIONS_MAX as u64 {
            control.set_wire(conn, true).unwrap();
        }
        control.set_wire(0, true).unwrap();
        let error = control.set_wire(1_000, true).unwrap_err().to_string();
        assert!(error.starts_with("64 connections are on wire level already"), "{error}");
    });
}
