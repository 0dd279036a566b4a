//! `get <key>+`, `gets <key>+`, `keys <prefix>+ <limit>`.

use bytes::Bytes;

use super::{Command, MAX_KEY};
use crate::node::words::{Words, plain_u64};

fn words_left(words: &mut Words<'_>) -> Vec<Bytes> {
    let mut found = Vec::new();
    loop {
        let word = words.word(MAX_KEY);
        if word.is_empty() {
            return found;
        }
        // here a key ends at a NUL; the commands that write refuse one
        let key = word.split(|b| *b == 0).next().unwrap_or_default();
        found.push(Bytes::copy_from_slice(key));
    }
}

pub(super) fn get(words: &mut Words<'_>, versions: bool) -> Option<Command> {
    let keys = words_left(words);
    (!keys.is_empty()).then_some(Command::Get { keys, versions })
}

pub(super) fn keys(words: &mut Words<'_>) -> Option<Command> {
    let mut prefixes = words_left(words);
    let limit = usize::try_from(plain_u64(&prefixes.pop()?)?).ok()?;
    (limit >= 1 && !prefixes.is_empty()).then_some(Command::Keys { prefixes, limit })
}
