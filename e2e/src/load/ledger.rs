//! What is known of one key: the values it may have, given which operations were acknowledged,
//! refused or left without an answer.
//!
//! A key is in one client's hands at a time, so its operations have an order; what is known is
//! therefore exact. Only an operation without a clear answer leaves two possibilities.

use std::collections::BTreeSet;
use std::fmt;

/// The most values a key may be known to have at once. Each operation without an answer adds
/// some, the next acknowledged one that does not depend on the old value leaves one.
const POSSIBLE_MAX: usize = 256;

/// What an operation does to a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// `set`.
    Set(String),
    /// `delete`.
    Delete,
    /// `incr` by one.
    Increment,
}

/// How a server answered an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// It was carried out.
    Done,
    /// There was no such key.
    NotFound,
    /// An error or no answer at all: it may have been carried out, also later.
    Unclear,
}

/// In which way a key is not what was acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wrong {
    /// It is not there.
    Missing,
    /// Its value is another than the last one.
    Old,
    /// It was deleted and is there again.
    Back,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "missing",
            Self::Old => "old or wrong",
            Self::Back => "deleted and back",
        })
    }
}

/// A key and what may be stored under it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    name: String,
    possible: BTreeSet<Option<String>>,
    counter: bool,
    unclear: bool,
    history: Vec<(Change, Answer)>,
}

/// How many of the last operations a key remembers, for messages.
const HISTORY: usize = 6;

impl Key {
    /// A key that is not stored, changed by `set` and `delete`.
    pub fn value(name: String) -> Self {
        let possible = BTreeSet::from([None]);
        Self { name, possible, counter: false, unclear: false, history: Vec::new() }
    }

    /// A key that is not stored, set once and then counted.
    pub fn counter(name: String) -> Self {
        Self { counter: true, ..Self::value(name) }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it is counted.
    pub fn is_counter(&self) -> bool {
        self.counter
    }

    /// Whether some operation on it had no clear answer.
    pub fn was_unclear(&self) -> bool {
        self.unclear
    }

    /// Whether it is known to be absent.
    pub fn is_absent(&self) -> bool {
        self.possible.iter().all(Option::is_none)
    }

    /// Takes in what an operation came to. False if the answer cannot be right, whatever was
    /// stored before.
    pub fn took(&mut self, change: &Change, answer: Answer) -> bool {
        if self.history.len() == HISTORY {
            self.history.remove(0);
        }
        self.history.push((change.clone(), answer));
        self.unclear |= answer == Answer::Unclear;
        let after: BTreeSet<_> = self
            .possible
            .iter()
            .flat_map(|before| outcomes(before.as_deref(), change, answer))
            .collect();
        if after.is_empty() || after.len() > POSSIBLE_MAX {
            return false;
        }
        self.possible = after;
        true
    }

    /// In which way `found` is wrong; none if it is a value that the key may have.
    pub fn wrong(&self, found: Option<&str>) -> Option<Wrong> {
        if self.possible.iter().any(|value| value.as_deref() == found) {
            return None;
        }
        Some(match found {
            None => Wrong::Missing,
            Some(_) if self.is_absent() => Wrong::Back,
            Some(_) => Wrong::Old,
        })
    }

    /// An error text unless `found` is a value that the key may have.
    pub fn check(&self, found: Option<&str>) -> Option<String> {
        let wrong = self.wrong(found)?;
        let (name, history, possible) = (&self.name, &self.history, &self.possible);
        Some(format!("{name} is {wrong}: {found:?}, not one of {possible:?}; last: {history:?}"))
    }
}

/// What may be stored after an operation on a key with this value.
fn outcomes(before: Option<&str>, change: &Change, answer: Answer) -> Vec<Option<String>> {
    let changed = match change {
        Change::Set(value) => Some(Some(value.clone())),
        Change::Delete => before.map(|_| None),
        Change::Increment => before.map(|value| {
            let count: u64 = value.parse().unwrap_or(0);
            Some(count.wrapping_add(1).to_string())
        }),
    };
    let same = before.map(ToOwned::to_owned);
    match (answer, changed) {
        (Answer::Done, Some(value)) => vec![value],
        (Answer::Done, None) => vec![],
        (Answer::NotFound, None) => vec![same],
        (Answer::NotFound, Some(_)) => vec![],
        (Answer::Unclear, Some(value)) => vec![same, value],
        (Answer::Unclear, None) => vec![same],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(value: &str) -> Change {
        Change::Set(value.to_owned())
    }

    #[test]
    fn acknowledged_operations_leave_one_value() {
        let mut key = Key::value("k".into());
        assert!(key.took(&set("a"), Answer::Done));
        assert!(key.check(Some("a")).is_none());
        assert!(key.check(None).is_some_and(|text| text.contains("missing")));
        assert!(key.took(&set("b"), Answer::Done));
        assert!(key.check(Some("a")).is_some_and(|text| text.contains("old or wrong")));
        assert!(key.took(&Change::Delete, Answer::Done));
        assert!(key.check(None).is_none());
        assert!(key.check(Some("b")).is_some_and(|text| text.contains("deleted and back")));
    }

    #[test]
    fn an_unclear_answer_leaves_two_until_the_next_clear_one() {
        let mut key = Key::value("k".into());
        key.took(&set("a"), Answer::Done);
        assert!(key.took(&set("b"), Answer::Unclear));
        assert!(key.check(Some("a")).is_none() && key.check(Some("b")).is_none());
        assert!(key.took(&set("c"), Answer::Done));
        assert!(key.check(Some("b")).is_some());
    }

    #[test]
    fn a_lost_increment_shows() {
        let mut key = Key::counter("c".into());
        key.took(&set("0"), Answer::Done);
        for _ in 0..3 {
            assert!(key.took(&Change::Increment, Answer::Done));
        }
        assert!(key.check(Some("3")).is_none());
        assert!(key.check(Some("2")).is_some());
        key.took(&Change::Increment, Answer::Unclear);
        assert!(key.check(Some("3")).is_none() && key.check(Some("4")).is_none());
    }

    #[test]
    fn an_impossible_answer_is_noticed() {
        let mut key = Key::value("k".into());
        key.took(&set("a"), Answer::Done);
        assert!(!key.took(&Change::Delete, Answer::NotFound), "the key was there");
        let mut key = Key::value("k".into());
        assert!(!key.took(&Change::Delete, Answer::Done), "there was no key");
    }
}
