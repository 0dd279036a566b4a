//! What happens to a cluster, a line per event, in a file that every command can read: progress
//! while it starts, and each part that dies with the last lines of its log.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::paths::Paths;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "kebab-case")]
pub(crate) enum What {
    /// One step of the start is done.
    Progress { text: String },
    /// Every node is Ready.
    Ready,
    /// A part ended that nobody had told to.
    Died { part: String, how: String, last_lines: Vec<String> },
    /// The cluster cannot go on.
    Failed { text: String },
}

/// An event and its time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Event {
    /// Milliseconds since 1970.
    pub(crate) at_ms: u64,
    #[serde(flatten)]
    pub(crate) what: What,
}

/// Adds an event.
pub(crate) fn add(paths: &Paths, what: What) -> Result<()> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let at_ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
    let mut line = serde_json::to_string(&Event { at_ms, what }).context("write an event")?;
    line.push('\n');
    let path = paths.events();
    OpenOptions::new()
        .append(true)
        .create(true)
        .open(&path)
        .and_then(|mut file| file.write_all(line.as_bytes()))
        .with_context(|| format!("write {}", path.display()))
}

/// All events so far; none if there is no cluster. A line that is still being written is left
/// for the next time.
pub(crate) fn all(paths: &Paths) -> Vec<Event> {
    let text = fs::read_to_string(paths.events()).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

impl What {
    /// The event for a person; empty for one that says nothing by itself.
    pub(crate) fn text(&self) -> String {
        match self {
            What::Progress { text } | What::Failed { text } => text.clone(),
            What::Ready => "every node is Ready".to_owned(),
            What::Died { part, how, last_lines } => {
                let mut text = format!("{part} died: {how}");
                for line in last_lines {
                    text += &format!("\n  | {line}");
                }
                text
            }
        }
    }
}

/// The parts that died, for a person, oldest first.
pub(crate) fn deaths(paths: &Paths) -> Vec<String> {
    let died = |event: &Event| matches!(event.what, What::Died { .. });
    all(paths).iter().filter(|event| died(event)).map(|event| event.what.text()).collect()
}
