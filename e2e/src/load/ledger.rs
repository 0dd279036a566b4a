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
    /// `add`: only where nothing is.
    Add(String),
    /// `replace`: only where something is.
    Replace(String),
    /// `delete`.
    Delete,
    /// `incr` by one.
    Increment,
}

impl Change {
    /// Does a node answer otherwise, or count further, when it is asked this a second time?
    pub(super) fn differs_when_repeated(&self) -> bool {
        matches!(self, Self::Add(_) | Self::Delete | Self::Increment)
    }
}

/// How a server answered an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// It was carried out.
    Done,
    /// It was carried out and left this number.
    Counted(u64),
    /// It changed nothing: there was no such key, or for `add` there was one.
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
    stem: usize,
    generation: u64,
    possible: BTreeSet<Option<String>>,
    counter: bool,
    contended: bool,
    unclear: bool,
    history: Vec<(Change, Answer)>,
}

/// How many of the last operations a key remembers, for messages.
const HISTORY: usize = 6;

impl Key {
    /// A key that is not stored, changed by `set` and `delete`.
    pub fn value(name: String) -> Self {
        let stem = name.len();
        let possible = BTreeSet::from([None]);
        let (counter, contended, unclear, history) = (false, false, false, Vec::new());
        Self { name, stem, generation: 0, possible, counter, contended, unclear, history }
    }

    /// A key that is not stored, set once and then counted.
    pub fn counter(name: String) -> Self {
        Self { counter: true, ..Self::value(name) }
    }

    /// A key that several clients changed at once, and what it may hold.
    pub(super) fn contended(
        name: String,
        counter: bool,
        possible: BTreeSet<Option<String>>,
        unclear: bool,
    ) -> Self {
        Self { counter, contended: true, possible, unclear, ..Self::value(name) }
    }

    /// A key of another name that takes its place.
    pub(super) fn successor(&self) -> Self {
        let generation = self.generation + 1;
        let name = format!("{}.{generation}", &self.name[..self.stem]);
        Self { stem: self.stem, generation, ..Self::value(name) }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it is counted.
    pub fn is_counter(&self) -> bool {
        self.counter
    }

    /// Whether several clients changed it at once.
    pub fn is_contended(&self) -> bool {
        self.contended
    }

    /// Whether some operation on it had no clear answer.
    pub fn was_unclear(&self) -> bool {
        self.unclear
    }

    /// Whether so many operations had no clear answer that nearly anything may be stored. Only what
    /// does not depend on that tells more.
    pub(super) fn is_hazy(&self) -> bool {
        self.possible.len() > POSSIBLE_MAX / 2
    }

    /// Whether it is known to be absent.
    pub fn is_absent(&self) -> bool {
        self.possible.iter().all(Option::is_none)
    }

    /// A value that is set under this name alone, as the `nth` of a client.
    pub(super) fn value_of(name: &str, client: usize, nth: u64) -> String {
        format!("{name}={client}-{nth}")
    }

    /// Whether it can have had that value at some time.
    pub(super) fn has_had(&self, value: &str) -> bool {
        if self.counter {
            let number = |text: &str| text.parse::<u64>().ok();
            let highest = self.possible.iter().flatten().filter_map(|text| number(text)).max();
            return number(value) <= highest && number(value).is_some();
        }
        value.strip_prefix(&*self.name).is_some_and(|rest| rest.starts_with('='))
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
        Change::Add(value) => before.is_none().then(|| Some(value.clone())),
        Change::Replace(value) => before.map(|_| Some(value.clone())),
        Change::Delete => before.map(|_| None),
        Change::Increment => before.map(|value| {
            let count: u64 = value.parse().unwrap_or(0);
            Some(count.wrapping_add(1).to_string())
        }),
    };
    let same = before.map(ToOwned::to_owned);
    match (answer, changed) {
        (Answer::Counted(number), Some(value)) if value == Some(number.to_string()) => vec![value],
        (Answer::Counted(_), _) => vec![],
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
        for number in 1..=3 {
            assert!(key.took(&Change::Increment, Answer::Counted(number)));
        }
        assert!(key.check(Some("3")).is_none());
        assert!(key.check(Some("2")).is_some());
        key.took(&Change::Increment, Answer::Unclear);
        assert!(key.check(Some("3")).is_none() && key.check(Some("4")).is_none());
    }

    #[test]
    fn a_counter_without_answers_is_hazy_before_it_is_impossible() {
        let mut key = Key::counter("c".into());
        key.took(&set("0"), Answer::Done);
        while !key.is_hazy() {
            assert!(key.took(&Change::Increment, Answer::Unclear));
        }
        for _ in 0..POSSIBLE_MAX {
            assert!(key.took(&set("0"), Answer::Unclear));
        }
        assert!(key.took(&set("0"), Answer::Done) && !key.is_hazy());
    }

    #[test]
    fn an_impossible_answer_is_noticed() {
        let mut key = Key::value("k".into());
        key.took(&set("a"), Answer::Done);
        assert!(!key.took(&Change::Delete, Answer::NotFound), "the key was there");
        let mut key = Key::value("k".into());
        assert!(!key.took(&Change::Delete, Answer::Done), "there was no key");
        let mut key = Key::counter("c".into());
        key.took(&set("0"), Answer::Done);
        assert!(!key.took(&Change::Increment, Answer::Counted(2)), "it was counted once");
    }

    #[test]
    fn add_and_replace_tell_whether_there_was_a_key() {
        let (add, replace) = (Change::Add("a".into()), Change::Replace("b".into()));
        let mut key = Key::value("k".into());
        assert!(!key.clone().took(&add, Answer::NotFound), "nothing was in the way");
        assert!(!key.clone().took(&replace, Answer::Done), "there was nothing to replace");
        assert!(key.took(&add, Answer::Done) && key.took(&add, Answer::NotFound));
        assert!(!key.clone().took(&replace, Answer::NotFound), "it was there");
        assert!(key.took(&replace, Answer::Done));
        assert!(key.check(Some("b")).is_none() && key.check(Some("a")).is_some());
    }

    #[test]
    fn what_a_read_finds_was_set_under_that_key() {
        let mut key = Key::value("k1".into());
        let value = Key::value_of("k1", 3, 7);
        key.took(&Change::Set(value.clone()), Answer::Done);
        assert!(key.has_had(&value));
        assert!(!key.has_had(&Key::value_of("k", 3, 7)) && !key.has_had("k12=3-7"));
        let mut key = Key::counter("c".into());
        key.took(&set("0"), Answer::Done);
        key.took(&Change::Increment, Answer::Counted(1));
        assert!(key.has_had("0") && key.has_had("1"));
        assert!(!key.has_had("2") && !key.has_had("k1=3-7"));
    }

    #[test]
    fn a_successor_has_a_name_of_its_own() {
        let key = Key::value("v1".into());
        let (next, after) = (key.successor(), key.successor().successor());
        assert_eq!((next.name(), after.name()), ("v1.1", "v1.2"));
        assert!(next.is_absent());
    }
}
