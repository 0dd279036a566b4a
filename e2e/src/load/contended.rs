//! Keys that all clients change at the same time, without an order among them.
//!
//! Keys that pass from hand to hand never have two operations under way. Here every client takes
//! the same key for a moment, and goes on to the next with the others: so some key was changed by
//! several clients last at every moment of a load. Of a counter nothing may be missing and nothing
//! counted twice. Of a value one of the last writes must be left: one that had not ended when the
//! last of all began.

use std::collections::BTreeMap;

use tokio::time::Instant;

use super::ledger::{Answer, Change, Key};

/// So many operations of the load after another, the next key's turn comes, at first.
const TURN_OPERATIONS: u64 = 100;

/// What one client did to one of the keys.
#[derive(Debug, Clone, Default)]
struct Share {
    /// Increments that were acknowledged, and such without a clear answer.
    counted: u64,
    uncounted: u64,
    /// The last change that was acknowledged: when it began and ended, and what it left.
    last: Option<(Instant, Instant, Option<String>)>,
    /// What changes without a clear answer leave if they are carried out.
    unclear: Vec<Option<String>>,
}

/// The keys of one client, or of all.
#[derive(Debug, Default)]
pub(super) struct Contended {
    shares: BTreeMap<u64, Vec<Share>>,
}

/// The key whose turn it is after so many operations. After each `kept` turns they last twice as
/// long.
pub(super) fn turn(mut operations: u64, kept: usize) -> u64 {
    let kept = u64::try_from(kept).unwrap_or(u64::MAX).max(1);
    let (mut turn, mut lasts) = (0, TURN_OPERATIONS);
    while operations / lasts >= kept {
        operations -= kept * lasts;
        turn += kept;
        lasts *= 2;
    }
    turn + operations / lasts
}

/// Keys are counted and set in turn.
pub(super) fn is_counter(turn: u64) -> bool {
    turn.is_multiple_of(2)
}

/// Its name.
pub(super) fn name(prefix: &str, turn: u64) -> String {
    let kind = if is_counter(turn) { 'n' } else { 'w' };
    format!("{prefix}{kind}{turn}")
}

/// Is this the name of one that clients set and delete?
pub(crate) fn is_deleted(name: &str) -> bool {
    let turn = name.rsplit_once('-').and_then(|(_, own)| own.strip_prefix('w'));
    turn.is_some_and(|turn| turn.parse::<u64>().is_ok())
}

impl Contended {
    /// A change of the key of that turn came to this.
    pub(super) fn took(&mut self, turn: u64, change: &Change, answer: Answer, began: Instant) {
        let shares = self.shares.entry(turn).or_insert_with(|| vec![Share::default()]);
        let share = &mut shares[0];
        let left = match change {
            Change::Set(value) | Change::Add(value) | Change::Replace(value) => Some(value.clone()),
            Change::Delete | Change::Increment => None,
        };
        match (change, answer) {
            // it changed nothing
            (_, Answer::NotFound) => {}
            (Change::Increment, Answer::Unclear) => share.uncounted += 1,
            (Change::Increment, _) => share.counted += 1,
            (_, Answer::Unclear) => share.unclear.push(left),
            (_, _) => share.last = Some((began, Instant::now(), left)),
        }
    }

    /// Adds what another client did.
    pub(super) fn add(&mut self, other: Self) {
        for (turn, shares) in other.shares {
            self.shares.entry(turn).or_default().extend(shares);
        }
    }

    /// The keys, with what each may hold now that nobody changes them any more.
    pub(super) fn keys(&self, prefix: &str) -> Vec<Key> {
        let key = |(turn, shares): (&u64, &Vec<Share>)| {
            let name = name(prefix, *turn);
            if is_counter(*turn) { counted(name, shares) } else { written(name, shares) }
        };
        self.shares.iter().map(key).collect()
    }
}

/// A counter that was set to 0 by whoever found none.
fn counted(name: String, shares: &[Share]) -> Key {
    let counted: u64 = shares.iter().map(|share| share.counted).sum();
    let uncounted: u64 = shares.iter().map(|share| share.uncounted).sum();
    let numbers = counted..=counted + uncounted;
    let nothing = (counted == 0).then_some(None);
    let possible = numbers.map(|number| Some(number.to_string())).chain(nothing);
    Key::contended(name, true, possible.collect(), uncounted > 0)
}

/// A value of which only writes can be left that had not ended when the last one began.
fn written(name: String, shares: &[Share]) -> Key {
    let last = || shares.iter().filter_map(|share| share.last.as_ref());
    let latest = last().map(|(began, ..)| *began).max();
    let left = last().filter(|(_, ended, _)| latest.is_some_and(|began| *ended >= began));
    let unclear = shares.iter().flat_map(|share| share.unclear.iter().cloned());
    let mut possible: std::collections::BTreeSet<_> =
        left.map(|(.., value)| value.clone()).chain(unclear).collect();
    if latest.is_none() {
        possible.insert(None);
    }
    let unclear = shares.iter().any(|share| !share.unclear.is_empty());
    Key::contended(name, false, possible, unclear)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_last_longer_and_longer() {
        let turns: Vec<u64> = [0, 99, 100, 299, 300, 499, 500, 899, 900].map(|n| turn(n, 3)).into();
        assert_eq!(turns, [0, 0, 1, 2, 3, 3, 4, 5, 6]);
        assert!(turn(u64::from(u32::MAX), 32) < 1_000);
    }
}
