//! The commands that change an entry: their grammar (flare-protocol.md 4.2), the form in which
//! they are passed on to the master, and the form in which their result goes to the slaves (5.3).

use std::io::Write as _;

use bytes::Bytes;

use super::{MAX_KEY, MAX_WORD};
use crate::node::clock::absolute_expire;
use crate::node::storage::{Entry, Verb};
use crate::node::words::{Words, plain_u64, wrapping_u64};

/// Largest data block: with 2 more, upstream's 32 bit size overflows.
const MAX_DATA: u64 = 2_147_483_645;

/// `noreply`, `sync`, `async`, any number of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) noreply: bool,
    pub(crate) sync: bool,
    pub(crate) r#async: bool,
}

/// A change of one entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Write {
    /// `set add replace append prepend cas`; a version of 0 was not given.
    Store {
        verb: Verb,
        entry: Entry,
        size: usize,
        options: Options,
    },
    Delete {
        key: Bytes,
        expire: u64,
        version: u64,
        options: Options,
    },
    /// `incr`, or `decr` if not `up`.
    Count {
        key: Bytes,
        amount: u64,
        up: bool,
        options: Options,
    },
    /// `touch`, or `gat` with `get`.
    Touch {
        key: Bytes,
        expire: u64,
        get: bool,
        options: Options,
    },
}

impl Options {
    /// All words that are left; none if one of them is not an option.
    pub(super) fn parse(words: &mut Words<'_>) -> Option<Self> {
        let mut options = Self::default();
        loop {
            match words.word(MAX_WORD) {
                b"" => return Some(options),
                b"noreply" => options.noreply = true,
                b"sync" => options.sync = true,
                b"async" => options.r#async = true,
                _ => return None,
            }
        }
    }

    fn encode(self, out: &mut Vec<u8>) {
        for (on, word) in
            [(self.noreply, " noreply"), (self.sync, " sync"), (self.r#async, " async")]
        {
            if on {
                out.extend_from_slice(word.as_bytes());
            }
        }
    }
}

fn key(words: &mut Words<'_>) -> Option<Bytes> {
    let key = words.word(MAX_KEY);
    (!key.is_empty() && !key.contains(&0)).then(|| Bytes::copy_from_slice(key))
}

/// Digits that fit a signed 64 bit time.
fn expire(digits: &[u8]) -> Option<u64> {
    let given = plain_u64(digits)?;
    i64::try_from(given).is_ok().then(|| absolute_expire(given))
}

pub(super) fn parse(name: &[u8], words: &mut Words<'_>) -> Option<Write> {
    let verb = match name {
        b"set" => Verb::Set,
        b"add" => Verb::Add,
        b"replace" => Verb::Replace,
        b"append" => Verb::Append,
        b"prepend" => Verb::Prepend,
        b"cas" => Verb::Cas,
        b"delete" => return delete(words),
        b"incr" | b"decr" => return count(words, name == b"incr"),
        b"touch" | b"gat" => return touch(words, name == b"gat"),
        _ => return None,
    };
    store(words, verb)
}

fn store(words: &mut Words<'_>, verb: Verb) -> Option<Write> {
    let key = key(words)?;
    let flag = u32::try_from(plain_u64(words.digits())?).ok()?;
    let expire = expire(words.digits())?;
    let size = plain_u64(words.digits())?;
    if size > MAX_DATA {
        return None;
    }
    let version = match words.digits() {
        b"" if verb == Verb::Cas => return None,
        b"" => 0,
        digits => plain_u64(digits)?,
    };
    let options = Options::parse(words)?;
    let entry = Entry { key, flag, expire, version, data: Bytes::new() };
    Some(Write::Store { verb, entry, size: usize::try_from(size).ok()?, options })
}

fn delete(words: &mut Words<'_>) -> Option<Write> {
    let key = key(words)?;
    let (mut expire, mut version) = (0, 0);
    let digits = words.digits();
    if !digits.is_empty() {
        expire = self::expire(digits)?;
        let digits = words.digits();
        if !digits.is_empty() {
            version = plain_u64(digits)?;
        }
    }
    let options = Options::parse(words)?;
    Some(Write::Delete { key, expire, version, options })
}

fn count(words: &mut Words<'_>, up: bool) -> Option<Write> {
    let key = key(words)?;
    let amount = wrapping_u64(words.digits())?;
    let options = Options::parse(words)?;
    Some(Write::Count { key, amount, up, options })
}

fn touch(words: &mut Words<'_>, get: bool) -> Option<Write> {
    let key = key(words)?;
    let expire = expire(words.digits())?;
    // upstream reads a version here, too, and has no use for it
    words.digits();
    let options = Options::parse(words)?;
    let only_noreply = !options.sync && !options.r#async;
    only_noreply.then_some(Write::Touch { key, expire, get, options })
}

fn verb_name(verb: Verb) -> &'static str {
    match verb {
        Verb::Set | Verb::Import => "set",
        Verb::Add => "add",
        Verb::Replace => "replace",
        Verb::Append => "append",
        Verb::Prepend => "prepend",
        Verb::Cas => "cas",
    }
}

impl Write {
    pub(crate) fn op(&self) -> &'static str {
        match self {
            Write::Store { verb, .. } => verb_name(*verb),
            Write::Delete { .. } => "delete",
            Write::Count { up: true, .. } => "incr",
            Write::Count { up: false, .. } => "decr",
            Write::Touch { get: false, .. } => "touch",
            Write::Touch { get: true, .. } => "gat",
        }
    }

    pub(crate) fn key(&self) -> &Bytes {
        match self {
            Write::Store { entry, .. } => &entry.key,
            Write::Delete { key, .. } | Write::Count { key, .. } | Write::Touch { key, .. } => key,
        }
    }

    pub(crate) fn options(&self) -> Options {
        match self {
            Write::Store { options, .. }
            | Write::Delete { options, .. }
            | Write::Count { options, .. }
            | Write::Touch { options, .. } => *options,
        }
    }

    /// A `set` of a whole entry with its version.
    pub(crate) fn set(entry: Entry) -> Self {
        let size = entry.data.len();
        Write::Store { verb: Verb::Set, entry, size, options: Options::default() }
    }

    /// Asks the receiver not to answer.
    pub(crate) fn set_noreply(&mut self) {
        match self {
            Write::Store { options, .. }
            | Write::Delete { options, .. }
            | Write::Count { options, .. }
            | Write::Touch { options, .. } => options.noreply = true,
        }
    }

    /// Bytes of the data block that follows the line, without its line end; none for most.
    pub(crate) fn data_size(&self) -> Option<usize> {
        match self {
            Write::Store { size, .. } => Some(*size),
            _ => None,
        }
    }

    /// Takes the data block in.
    pub(crate) fn set_data(&mut self, data: Bytes) {
        if let Write::Store { entry, .. } = self {
            entry.data = data;
        }
    }

    /// The request as it is passed on: line and data block, without the prefix.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = self.op().as_bytes().to_vec();
        out.push(b' ');
        out.extend_from_slice(self.key());
        match self {
            Write::Store { verb, entry, options, .. } => {
                push(&mut out, format_args!(" {} {}", entry.flag, entry.expire));
                push(&mut out, format_args!(" {}", entry.data.len()));
                if entry.version != 0 || *verb == Verb::Cas {
                    push(&mut out, format_args!(" {}", entry.version));
                }
                options.encode(&mut out);
                out.extend_from_slice(b"\r\n");
                out.extend_from_slice(&entry.data);
            }
            Write::Delete { expire, version, options, .. } => {
                push(&mut out, format_args!(" {expire}"));
                if *version != 0 {
                    push(&mut out, format_args!(" {version}"));
                }
                options.encode(&mut out);
            }
            Write::Count { amount, options, .. } => {
                push(&mut out, format_args!(" {amount}"));
                options.encode(&mut out);
            }
            Write::Touch { expire, options, .. } => {
                push(&mut out, format_args!(" {expire}"));
                options.encode(&mut out);
            }
        }
        out.extend_from_slice(b"\r\n");
        out
    }

    /// The request that brings a copy to the same result: `set` with the whole entry and its
    /// version, `delete` with its version, `touch`.
    pub(crate) fn result(&self, entry: Entry) -> Write {
        let options = self.options();
        match self {
            Write::Store { .. } | Write::Count { .. } => {
                Write::Store { verb: Verb::Set, size: entry.data.len(), entry, options }
            }
            Write::Delete { key, expire, .. } => {
                Write::Delete { key: key.clone(), expire: *expire, version: entry.version, options }
            }
            Write::Touch { key, expire, .. } => {
                Write::Touch { key: key.clone(), expire: *expire, get: false, options }
            }
        }
    }
}

fn push(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("writing to memory does not fail");
}
