//! Reads the wire transcripts of `e2e/wire` (format: its README.md): who connected to whom, what
//! each side sent, byte for byte, and what the person recording did. Replays are built on it; it
//! knows nothing of Flare's commands.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The longest run that `{x*N}` may ask for: far above the 1,000,000 byte values that a node
/// takes in a test, and small enough that a slip of the hand does not fill the memory.
const MAX_RUN: usize = 16 * 1024 * 1024;

/// One recorded scenario.
#[derive(Debug, Clone)]
pub struct Transcript {
    /// The file's name without its ending, e.g. `node-sync-versions`.
    pub name: String,
    /// The `#` lines, without the mark.
    pub header: Vec<String>,
    /// What happened, in the order of the file.
    pub steps: Vec<Step>,
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The line of the file, counted from 1, for messages.
    pub line: usize,
    /// Since the start of the recording; a data line has the time of the `@` line above it.
    pub at: Duration,
    /// What it was.
    pub event: Event,
}

/// The kinds of things that happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// `@ … -- text`: done or observed by the person who recorded.
    Note(String),
    /// `@ … cN open A -> B`; `already` when the connection is older than the recording.
    Open {
        /// Number of the connection in this file.
        conn: u32,
        /// Who connected, as named in the recording.
        from: String,
        /// To whom.
        to: String,
        /// Whether it was opened before the recording began.
        already: bool,
    },
    /// Bytes that one side sent: one text line each, so usually one wire line each.
    Data {
        /// Number of the connection.
        conn: u32,
        /// Who sent them.
        from: Side,
        /// What was sent.
        bytes: Vec<u8>,
    },
    /// `closed by C|S`.
    Closed {
        /// Number of the connection.
        conn: u32,
        /// Who closed its direction.
        by: Side,
    },
    /// `reset by C|S`.
    Reset {
        /// Number of the connection.
        conn: u32,
        /// Who sent the reset.
        by: Side,
    },
    /// `connection refused`.
    Refused {
        /// Number of the connection.
        conn: u32,
    },
    /// `(no reply within T s)`.
    NoReply {
        /// Number of the connection.
        conn: u32,
        /// How long the recording client waited.
        within: Duration,
    },
}

/// A side of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// `C`: the side that connected.
    Client,
    /// `S`: the side that accepted.
    Server,
}

/// What is wrong with a transcript.
#[derive(Debug)]
pub struct TranscriptError {
    file: PathBuf,
    line: usize,
    what: String,
}

impl fmt::Display for TranscriptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "transcript {}, line {}: {}", self.file.display(), self.line, self.what)
    }
}

impl std::error::Error for TranscriptError {}

impl Transcript {
    /// Reads a file. The error names the file, the line and what is wrong there.
    pub fn read(path: &Path) -> Result<Self, TranscriptError> {
        let fail = |line, what| TranscriptError { file: path.to_owned(), line, what };
        let text = std::fs::read_to_string(path).map_err(|e| fail(0, e.to_string()))?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        Self::parse(&name, &text).map_err(|(line, what)| fail(line, what))
    }

    /// Parses the text of a transcript; an error is the line, counted from 1, and what is wrong.
    pub fn parse(name: &str, text: &str) -> Result<Self, (usize, String)> {
        let mut transcript =
            Transcript { name: name.to_owned(), header: Vec::new(), steps: Vec::new() };
        let mut current: Option<u32> = None;
        let mut at = Duration::ZERO;
        for (index, line) in text.lines().enumerate() {
            let number = index + 1;
            let fail = |what: String| (number, what);
            let event = if let Some(comment) = line.strip_prefix('#') {
                transcript.header.push(comment.trim().to_owned());
                None
            } else if let Some(rest) = line.strip_prefix("@ +") {
                let (time, conn, event) = at_line(rest).map_err(fail)?;
                at = time;
                current = conn;
                event
            } else if let Some((side, data)) = data_line(line) {
                let conn = current.ok_or_else(|| fail("data before a connection".to_owned()))?;
                let bytes = unescape(data).map_err(fail)?;
                Some(Event::Data { conn, from: side, bytes })
            } else if line.is_empty() {
                None
            } else {
                return Err(fail(format!("neither '#', '@ +', 'C> ' nor 'S> ': {line}")));
            };
            transcript.steps.extend(event.map(|event| Step { line: number, at, event }));
        }
        Ok(transcript)
    }

    /// The folder of the recorded transcripts in this repository.
    pub fn folder() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("wire")
    }

    /// Reads `<name>.txt` of [`Transcript::folder`].
    pub fn named(name: &str) -> Result<Self, TranscriptError> {
        Self::read(&Self::folder().join(format!("{name}.txt")))
    }
}

impl Event {
    /// The connection it is about; none for a note.
    pub fn conn(&self) -> Option<u32> {
        match self {
            Event::Note(_) => None,
            Event::Open { conn, .. }
            | Event::Data { conn, .. }
            | Event::Closed { conn, .. }
            | Event::Reset { conn, .. }
            | Event::Refused { conn }
            | Event::NoReply { conn, .. } => Some(*conn),
        }
    }
}

/// What follows `@ +`: time, connection, event.
fn at_line(rest: &str) -> Result<(Duration, Option<u32>, Option<Event>), String> {
    let (time, rest) = rest.split_once(' ').ok_or("a time and nothing else")?;
    let at = seconds(time)?;
    if let Some(note) = rest.strip_prefix("--") {
        return Ok((at, None, Some(Event::Note(note.trim_start().to_owned()))));
    }
    let (conn, what) = rest.split_once(' ').unwrap_or((rest, ""));
    let conn: u32 = conn
        .strip_prefix('c')
        .and_then(|n| n.parse().ok())
        .ok_or_else(|| format!("neither '--' nor a connection like c1: {conn}"))?;
    Ok((at, Some(conn), conn_event(conn, what)?))
}

fn conn_event(conn: u32, what: &str) -> Result<Option<Event>, String> {
    let event = match what {
        "" => return Ok(None),
        "closed by C" => Event::Closed { conn, by: Side::Client },
        "closed by S" => Event::Closed { conn, by: Side::Server },
        "reset by C" => Event::Reset { conn, by: Side::Client },
        "reset by S" => Event::Reset { conn, by: Side::Server },
        "connection refused" => Event::Refused { conn },
        _ => {
            if let Some(time) =
                what.strip_prefix("(no reply within ").and_then(|s| s.strip_suffix(" s)"))
            {
                Event::NoReply { conn, within: seconds(time)? }
            } else {
                opened(conn, what)?
            }
        }
    };
    Ok(Some(event))
}

fn opened(conn: u32, what: &str) -> Result<Event, String> {
    let (already, ends) = if let Some(ends) = what.strip_prefix("open ") {
        (false, ends)
    } else if let Some(ends) = what.strip_prefix("(already open) ") {
        (true, ends)
    } else {
        return Err(format!("unknown event: {what}"));
    };
    let (from, to) = ends.split_once(" -> ").ok_or("an open without ' -> '")?;
    Ok(Event::Open { conn, from: from.to_owned(), to: to.to_owned(), already })
}

/// A decimal number of seconds, as the recordings write times (to the millisecond).
fn seconds(text: &str) -> Result<Duration, String> {
    let bad = || format!("not a number of seconds: {text}");
    let value: f64 = text.parse().map_err(|_| bad())?;
    Duration::try_from_secs_f64(value).map_err(|_| bad())
}

fn data_line(line: &str) -> Option<(Side, &str)> {
    let (side, rest) = match line.split_at_checked(2)? {
        ("C>", rest) => (Side::Client, rest),
        ("S>", rest) => (Side::Server, rest),
        _ => return None,
    };
    // exactly one blank after the mark: the data may begin with blanks of its own
    Some((side, rest.strip_prefix(' ').unwrap_or(rest)))
}

/// Turns `\r \n \t \\ \xNN` and `{x*1000}` into bytes; other text stands for itself.
pub fn unescape(text: &str) -> Result<Vec<u8>, String> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some(&first) = rest.first() {
        if first == b'{'
            && let Some((byte, count, used)) = run(rest)?
        {
            out.resize(out.len() + count, byte);
            rest = &rest[used..];
        } else {
            let (byte, used) = unit(rest)?;
            out.push(byte);
            rest = &rest[used..];
        }
    }
    Ok(out)
}

/// One byte and how much text it took.
fn unit(text: &[u8]) -> Result<(u8, usize), String> {
    match text {
        [b'\\', b'r', ..] => Ok((b'\r', 2)),
        [b'\\', b'n', ..] => Ok((b'\n', 2)),
        [b'\\', b't', ..] => Ok((b'\t', 2)),
        [b'\\', b'\\', ..] => Ok((b'\\', 2)),
        [b'\\', b'x', high, low, ..] => {
            let digit = |d: u8| char::from(d).to_digit(16);
            let value = digit(*high).zip(digit(*low)).map(|(high, low)| high * 16 + low);
            let byte = value.and_then(|v| u8::try_from(v).ok());
            byte.map(|byte| (byte, 4)).ok_or_else(|| "\\x without two hex digits".to_owned())
        }
        [b'\\', ..] => Err("a backslash that begins no escape".to_owned()),
        [byte, ..] => Ok((*byte, 1)),
        [] => Err("nothing where a byte should be".to_owned()),
    }
}

/// `{x*1000}` at the start of the text; none if the brace is an ordinary one.
fn run(text: &[u8]) -> Result<Option<(u8, usize, usize)>, String> {
    let Ok((byte, used)) = unit(&text[1..]) else { return Ok(None) };
    let after = &text[1 + used..];
    let Some(end) = after.iter().position(|b| *b == b'}') else { return Ok(None) };
    let Some(digits) = after[..end].strip_prefix(b"*") else { return Ok(None) };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Ok(None);
    }
    let count = std::str::from_utf8(digits).ok().and_then(|d| d.parse().ok());
    match count {
        Some(count) if count <= MAX_RUN => Ok(Some((byte, count, 1 + used + end + 1))),
        _ => Err(format!("a run of more than {MAX_RUN} bytes")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_recorded_transcript_parses_and_opens_what_it_uses() {
        let mut files = 0;
        for entry in std::fs::read_dir(Transcript::folder()).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|e| e != "txt") {
                continue;
            }
            let transcript = Transcript::read(&path).unwrap_or_else(|e| panic!("{e}"));
            assert!(!transcript.header.is_empty(), "{}", path.display());
            let mut open = std::collections::BTreeSet::new();
            for step in &transcript.steps {
                match (&step.event, step.event.conn()) {
                    (Event::Open { conn, .. }, _) => assert!(open.insert(*conn)),
                    (_, Some(conn)) => {
                        assert!(open.contains(&conn), "{}:{}", path.display(), step.line);
                    }
                    (_, None) => {}
                }
            }
            files += 1;
        }
        assert_eq!(files, 33, "the folder's README.md lists 33 transcripts");
    }

    #[test]
    fn one_of_each_kind_of_line() {
        let text = "# who\n@ +0.000 c1 (already open) a b -> c:1\n\
                    @ +1.250 c1\nC>  x\\x41\\t\\r\\n\n\
                    S> {y*3}{}\\\\\n@ +2.000 c1 (no reply within 0.35 s)\n\
                    @ +2.000 c1 closed by S\n@ +3.000 -- done\n";
        let t = Transcript::parse("t", text).unwrap();
        assert_eq!(t.header, ["who"]);
        let events: Vec<Event> = t.steps.iter().map(|s| s.event.clone()).collect();
        assert_eq!(
            events,
            [
                Event::Open { conn: 1, from: "a b".into(), to: "c:1".into(), already: true },
                Event::Data { conn: 1, from: Side::Client, bytes: b" xA\t\r\n".to_vec() },
                Event::Data { conn: 1, from: Side::Server, bytes: b"yyy{}\\".to_vec() },
                Event::NoReply { conn: 1, within: Duration::from_millis(350) },
                Event::Closed { conn: 1, by: Side::Server },
                Event::Note("done".into()),
            ]
        );
        assert_eq!(t.steps[1].at, Duration::from_millis(1250));
        assert_eq!(t.steps[1].line, 4);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        for (text, line, part) in [
            ("# h\nnonsense\n", 2, "nonsense"),
            ("C> x\n", 1, "before a connection"),
            ("@ +0.1 c1 open a -> b\nC> \\q\n", 2, "backslash"),
            ("@ +0.1 c1 explodes\n", 1, "explodes"),
            ("@ +x c1\n", 1, "seconds"),
            ("@ +0.1 c1 open a -> b\nC> {x*99999999999}\n", 2, "run"),
        ] {
            let (at, what) = Transcript::parse("t", text).unwrap_err();
            assert_eq!(at, line, "{text}");
            assert!(what.contains(part), "{what}");
        }
    }
}
