//! `dump`, `dump_key`, `flush_all`, `node sync`, `verbosity`, `kill`.

use super::{Command, MAX_WORD, Options};
use crate::node::words::{Words, signed, wrapping_u64};

/// `dump [wait [partition [size [bwlimit]]]]`, `dump_key [partition [size [bwlimit]]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Dump {
    pub(crate) keys_only: bool,
    /// Pause per entry, in microseconds.
    pub(crate) wait_micros: u64,
    /// Partition and number of partitions; everything if none.
    pub(crate) filter: Option<(usize, usize)>,
    /// KiB/s; 0 is no limit.
    pub(crate) bwlimit: u64,
}

/// The next number, or the default if none comes next. None for one that does not convert.
fn number_or(words: &mut Words<'_>, default: i32) -> Option<i32> {
    match words.digits() {
        b"" => Some(default),
        digits => signed(digits),
    }
}

pub(super) fn dump(words: &mut Words<'_>, keys_only: bool) -> Option<Dump> {
    let wait = if keys_only { 0 } else { number_or(words, 0)? };
    let partition = number_or(words, -1)?;
    let size = number_or(words, 0)?;
    let bwlimit = number_or(words, 0)?;
    // what is left of the line is ignored
    let wait_micros = u64::try_from(wait).ok()?;
    let bwlimit = u64::try_from(bwlimit).unwrap_or(0);
    let size = usize::try_from(size).ok()?;
    let filter = match usize::try_from(partition) {
        Ok(partition) if size > partition => Some((partition, size)),
        Err(_) if size == 0 => None,
        _ => return None,
    };
    Some(Dump { keys_only, wait_micros, filter, bwlimit })
}

/// `flush_all [expire] [noreply|async]`; the expire is read and ignored, as upstream does.
pub(super) fn flush_all(words: &mut Words<'_>) -> Option<Command> {
    let expire = words.digits();
    if !expire.is_empty() {
        signed::<i64>(expire)?;
    }
    let options = Options::parse(words)?;
    (!options.sync).then_some(Command::FlushAll { noreply: options.noreply })
}

/// `node sync [version]`; a version that is missing counts as 0.
pub(super) fn node(words: &mut Words<'_>) -> Option<Command> {
    if words.word(MAX_WORD) != b"sync" {
        return None;
    }
    let version = if words.is_done() { 0 } else { wrapping_u64(words.digits())? };
    words.is_done().then_some(Command::NodeSync { version })
}

/// `verbosity <n> [noreply]`.
pub(super) fn verbosity(words: &mut Words<'_>) -> Option<Command> {
    signed::<i64>(words.digits())?;
    let options = Options::parse(words)?;
    (!options.sync).then_some(Command::Verbosity { noreply: options.noreply })
}

/// `kill <thread id>`.
pub(super) fn kill(words: &mut Words<'_>) -> Option<Command> {
    let id = wrapping_u64(words.digits())?;
    // within 32 bits, or just below zero, where no thread has its number
    let id = u32::try_from(id).or_else(|_| u32::try_from(id.wrapping_neg()).map(|_| 0)).ok()?;
    words.is_done().then_some(Command::Kill(id))
}
