//! Which tests CI may skip, and why. Every other skip fails it: a machine that lacks a program or
//! a right would else lose the tests that need it, and stay green.

use crate::tally::{Row, Tally};

/// Tests that CI may skip, each with the reason.
const ALLOWED: &[(&str, &str)] =
    &[("both_programs_answer_alike", UPSTREAM), ("both_programs_bear_damage_alike", UPSTREAM)];

const UPSTREAM: &str = "needs upstream's flared, which is no part of this repository";

/// Counts each test that was skipped and may not be as a failure.
pub(crate) fn judge(tally: &mut Tally) {
    let allowed = |test: &str| ALLOWED.iter().any(|(name, _)| *name == test);
    let mut row = Row::new("skips that are not allowed");
    for skip in tally.skipped().filter(|skip| !allowed(&skip.test)) {
        eprintln!("`{}` must not be skipped here ({})", skip.test, skip.why);
        row.failed += 1;
    }
    if row.failed > 0 {
        tally.add(row);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tally::Skip;

    fn with_skip(test: &str) -> Tally {
        let skip = Skip { test: test.to_owned(), why: "it cannot".to_owned() };
        let mut tally = Tally::default();
        tally.add(Row { passed: 1, skipped: vec![skip], ..Row::new("part") });
        judge(&mut tally);
        tally
    }

    #[test]
    fn a_skip_fails_unless_it_is_on_the_list() {
        assert!(with_skip(ALLOWED[0].0).is_good());
        let tally = with_skip("masters/resets loses nothing");
        assert!(!tally.is_good());
        assert_eq!(tally.summary().lines().last(), Some("1 passed, 1 failed, 1 skipped"));
    }
}
