//! A small reader of the recorded transcripts in `e2e/wire` (format: its README.md), of our own:
//! the stand-in node and its reader must not share our parser's mistakes, nor we theirs.

use std::collections::BTreeMap;
use std::path::Path;

/// What two programs said to each other on one connection.
#[derive(Debug, Default)]
pub(crate) struct Conversation {
    /// File and number of the connection, for messages.
    pub(crate) name: String,
    /// Who connected, as the recording names it.
    pub(crate) from: String,
    /// To whom.
    pub(crate) to: String,
    /// Everything that the side that connected sent.
    pub(crate) sent: Vec<u8>,
    /// Everything that the other side sent.
    pub(crate) answered: Vec<u8>,
}

/// All conversations of all transcripts.
pub(crate) fn all() -> Vec<Conversation> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../e2e/wire");
    let mut files: Vec<_> = std::fs::read_dir(&folder)
        .expect("the transcripts are in the repository")
        .map(|entry| entry.expect("a readable folder").path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "txt"))
        .collect();
    files.sort();
    assert!(files.len() > 30, "{} has only {} files", folder.display(), files.len());
    files.iter().flat_map(|file| conversations(file)).collect()
}

fn conversations(file: &Path) -> Vec<Conversation> {
    let text = std::fs::read_to_string(file).expect("a readable transcript");
    let name = file.file_stem().expect("a file has a name").to_string_lossy();
    let mut found: BTreeMap<String, Conversation> = BTreeMap::new();
    let mut current = None;
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("@ +") {
            let mut words = rest.splitn(3, ' ').skip(1);
            let connection = words.next().expect("a connection or `--`");
            if connection == "--" {
                continue;
            }
            let conversation = found.entry(connection.to_owned()).or_default();
            current = Some(connection.to_owned());
            let event = words.next().unwrap_or_default();
            if let Some((from, to)) = event.split_once(" -> ") {
                let from = from.trim_start_matches("open ").trim_start_matches("(already open) ");
                conversation.name = format!("{name} {connection}");
                (conversation.from, conversation.to) = (from.to_owned(), to.to_owned());
            }
        } else if let Some(current) = &current {
            let conversation = found.get_mut(current).expect("was inserted with its `@` line");
            match line.split_at_checked(3) {
                Some(("C> ", data)) => conversation.sent.extend(unescape(data)),
                Some(("S> ", data)) => conversation.answered.extend(unescape(data)),
                _ => {}
            }
        }
    }
    found.into_values().collect()
}

/// `\r \n \t \\ \xNN`, and `{x*1000}` for a byte 1000 times.
fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let (run, used) = match rest.strip_prefix('{').and_then(|run| run.split_once('}')) {
            Some((run, _)) if run.contains('*') => {
                let (what, count) = run.split_once('*').expect("was looked for");
                let count = count.parse().expect("a number of times");
                (unescape(what).repeat(count), run.len() + 2)
            }
            _ if first == '\\' => {
                let hex = |digits: &str| u8::from_str_radix(digits, 16).expect("two hex digits");
                match rest.as_bytes()[1] {
                    b'r' => (vec![b'\r'], 2),
                    b'n' => (vec![b'\n'], 2),
                    b't' => (vec![b'\t'], 2),
                    b'x' => (vec![hex(&rest[2..4])], 4),
                    other => (vec![other], 2),
                }
            }
            _ => (rest.as_bytes()[..first.len_utf8()].to_vec(), first.len_utf8()),
        };
        bytes.extend(run);
        rest = &rest[used..];
    }
    bytes
}
