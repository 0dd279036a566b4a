//! Cuts a line into words and numbers by upstream's rules (flare-protocol.md 2).
//!
//! Words are separated by spaces only; a tab or a CR inside a line is an ordinary character. A
//! NUL ends the line. Each read has room for so many bytes: of a longer word it takes the first
//! part, and the next read goes on in the middle of it, as upstream's do.

use std::fmt;

use crate::model::NodeKey;
use crate::protocol::reply;
use crate::protocol::request::Rejected;

/// The room for a command word, a server name, a port and a thread id, in bytes.
pub const WORD_MAX: usize = 1023;

/// The room for most other words, in bytes.
pub const LONG_WORD_MAX: usize = 8191;

/// The rest of a line.
#[derive(Debug, Clone, Copy)]
pub struct Words<'a> {
    rest: &'a [u8],
}

impl<'a> Words<'a> {
    /// The words of `line`, up to a NUL.
    pub fn new(line: &'a [u8]) -> Self {
        let end = line.iter().position(|byte| *byte == 0).unwrap_or(line.len());
        Self { rest: &line[..end] }
    }

    /// Steps over a proxy prefix `<a:1,b:2>` at the very beginning of the line; the index does
    /// not look into it.
    ///
    /// # Errors
    ///
    /// When the prefix is not closed.
    pub fn skip_prefix(&mut self) -> Result<(), Malformed> {
        if self.rest.first() == Some(&b'<') {
            let close = self.rest.iter().position(|byte| *byte == b'>');
            let close = close.ok_or(Malformed::OpenPrefix)?;
            self.rest = &self.rest[close + 1..];
        }
        Ok(())
    }

    /// The next word, at most `room` bytes of it; empty at the end of the line.
    pub fn word(&mut self, room: usize) -> &'a [u8] {
        self.take_while(room, |byte| byte != b' ')
    }

    /// The next run of digits and `-`; empty if something else comes next.
    pub fn digits(&mut self, room: usize) -> &'a [u8] {
        self.take_while(room, |byte| byte.is_ascii_digit() || byte == b'-')
    }

    /// A number that must be there; `what` names it for a person.
    ///
    /// # Errors
    ///
    /// When it is missing, malformed or does not fit into 32 bits.
    pub fn number(&mut self, room: usize, what: &'static str) -> Result<i32, Malformed> {
        match self.digits(room) {
            b"" => Err(Malformed::Missing(what)),
            digits => signed(digits).ok_or(Malformed::Number(what)),
        }
    }

    /// A number that may be left out; anything but a digit or `-` counts as left out.
    ///
    /// # Errors
    ///
    /// When it is there and malformed, or does not fit into 32 bits.
    pub fn number_or(&mut self, absent: i32, what: &'static str) -> Result<i32, Malformed> {
        match self.digits(LONG_WORD_MAX) {
            b"" => Ok(absent),
            digits => signed(digits).ok_or(Malformed::Number(what)),
        }
    }

    /// An unsigned number that must be there; a minus sign wraps it around, as upstream's
    /// conversion does.
    ///
    /// # Errors
    ///
    /// When it is missing, malformed or does not fit into 32 bits.
    pub fn unsigned(&mut self, room: usize, what: &'static str) -> Result<u32, Malformed> {
        let digits = self.digits(room);
        if digits.is_empty() {
            return Err(Malformed::Missing(what));
        }
        let (digits, negative) = match digits.strip_prefix(b"-") {
            Some(digits) => (digits, true),
            None => (digits, false),
        };
        let number = str::from_utf8(digits).ok().and_then(|digits| digits.parse::<u32>().ok());
        let number = number.ok_or(Malformed::Number(what))?;
        Ok(if negative { number.wrapping_neg() } else { number })
    }

    /// A server name and a port, not checked yet.
    ///
    /// # Errors
    ///
    /// When either is missing or the port is not a number.
    pub fn node(&mut self) -> Result<NamedNode<'a>, Malformed> {
        let name = self.word(WORD_MAX);
        if name.is_empty() {
            return Err(Malformed::Missing("server name"));
        }
        let port = self.number(WORD_MAX, "server port")?;
        Ok(NamedNode { name, port })
    }

    /// The line must end here.
    ///
    /// # Errors
    ///
    /// When another word follows.
    pub fn finish(mut self) -> Result<(), Malformed> {
        if self.word(LONG_WORD_MAX).is_empty() { Ok(()) } else { Err(Malformed::Surplus) }
    }

    fn take_while(&mut self, room: usize, belongs: impl Fn(u8) -> bool) -> &'a [u8] {
        let rest = self.rest;
        let start = rest.iter().position(|byte| *byte != b' ').unwrap_or(rest.len());
        let rest = &rest[start..];
        let len = rest.iter().take(room).take_while(|byte| belongs(**byte)).count();
        let (word, rest) = rest.split_at(len);
        self.rest = rest;
        word
    }
}

fn signed(digits: &[u8]) -> Option<i32> {
    str::from_utf8(digits).ok()?.parse().ok()
}

/// A node as a command names it.
#[derive(Debug, Clone, Copy)]
pub struct NamedNode<'a> {
    name: &'a [u8],
    port: i32,
}

impl NamedNode<'_> {
    /// The node's key, once the whole line is known to be in order.
    ///
    /// Upstream takes any name. We refuse those that could not be stored and read back, or never
    /// be resolved: no UTF-8, control characters, or a colon, at which keys are split
    /// (flare-protocol.md 1.2).
    ///
    /// # Errors
    ///
    /// The answer is then `refused`: what upstream says of a node that it does not know.
    pub fn key(self, refused: &'static [u8]) -> Result<NodeKey, Rejected> {
        match str::from_utf8(self.name) {
            Ok(name) if name_is_usable(name) => Ok(NodeKey::new(name, self.port)),
            _ => Err(Rejected { reason: Malformed::Name, reply: refused }),
        }
    }
}

/// May a node have this server name? One word of at most [`WORD_MAX`] bytes, without a colon, at
/// which keys are split, and without control characters.
pub fn name_is_usable(name: &str) -> bool {
    let barred = |c: char| c == ':' || c == ' ' || c.is_control();
    !name.is_empty() && name.len() <= WORD_MAX && !name.contains(barred)
}

/// What is wrong with a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Malformed {
    /// No such command, or an empty line.
    Command,
    /// The line is longer than [`crate::protocol::line::LINE_MAX`].
    TooLong,
    /// The proxy prefix is not closed.
    OpenPrefix,
    /// A word is missing.
    Missing(&'static str),
    /// A number is malformed or does not fit.
    Number(&'static str),
    /// A word is none of those that may stand here.
    Word(&'static str),
    /// More words than the command takes.
    Surplus,
    /// The server name can't be one.
    Name,
}

impl Malformed {
    /// For metric labels.
    pub fn kind(self) -> &'static str {
        match self {
            Self::Command => "unknown_command",
            Self::TooLong => "line_too_long",
            Self::OpenPrefix => "open_prefix",
            Self::Missing(_) => "missing_word",
            Self::Number(_) => "bad_number",
            Self::Word(_) => "bad_word",
            Self::Surplus => "surplus_words",
            Self::Name => "bad_name",
        }
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Command => f.write_str("no such command"),
            Self::TooLong => write!(f, "more than {} bytes", super::line::LINE_MAX),
            Self::OpenPrefix => f.write_str("the proxy prefix has no `>`"),
            Self::Missing(what) => write!(f, "the {what} is missing"),
            Self::Number(what) => write!(f, "the {what} is not a number of 32 bits"),
            Self::Word(what) => write!(f, "there is no such {what}"),
            Self::Surplus => f.write_str("too many words"),
            Self::Name => {
                f.write_str("the server name has a colon, a control character or is not UTF-8")
            }
        }
    }
}

impl std::error::Error for Malformed {}

impl From<Malformed> for Rejected {
    /// Nearly everything malformed is answered alike.
    fn from(reason: Malformed) -> Self {
        Self { reason, reply: reply::ERROR }
    }
}
