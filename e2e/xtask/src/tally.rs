//! Counts what passed and what failed, from the words that test programs print.

/// What one part of the tests came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    /// The part, for a person.
    pub(crate) part: String,
    /// Tests that passed.
    pub(crate) passed: u64,
    /// Tests that failed; a part that could not run at all counts as one.
    pub(crate) failed: u64,
}

/// All parts so far.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    rows: Vec<Row>,
}

impl Tally {
    /// Takes in one part.
    pub(crate) fn add(&mut self, row: Row) {
        self.rows.push(row);
    }

    /// Did nothing fail, and did anything pass?
    pub(crate) fn is_good(&self) -> bool {
        self.failed() == 0 && self.passed() > 0
    }

    fn passed(&self) -> u64 {
        self.rows.iter().map(|row| row.passed).sum()
    }

    fn failed(&self) -> u64 {
        self.rows.iter().map(|row| row.failed).sum()
    }

    /// A line per part, then the sum alone on the last line.
    pub(crate) fn summary(&self) -> String {
        let mut text = String::from("\n");
        for row in &self.rows {
            let mark = if row.failed == 0 { "ok    " } else { "FAILED" };
            let Row { part, passed, failed } = row;
            text.push_str(&format!("{mark} {part}: {passed} passed, {failed} failed.\n"));
        }
        text.push_str(&format!("{} passed, {} failed\n", self.passed(), self.failed()));
        text
    }
}

/// How a test program says what passed.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Dialect {
    /// `test result: ok. 3 passed; 0 failed; …`, as `cargo test` prints it.
    Cargo,
    /// `ok 1 - name` and `not ok 2 - name`: the Test Anything Protocol. Indented subtests are
    /// not counted, their parent is.
    Tap,
}

impl Dialect {
    /// What this line of output adds: tests passed, tests failed.
    pub(crate) fn count(self, line: &str) -> (u64, u64) {
        match self {
            Self::Cargo => cargo_result(line).unwrap_or((0, 0)),
            Self::Tap if is_tap_result(line, "ok ") => (1, 0),
            Self::Tap if is_tap_result(line, "not ok ") => (0, 1),
            Self::Tap => (0, 0),
        }
    }
}

fn is_tap_result(line: &str, word: &str) -> bool {
    let Some(rest) = line.strip_prefix(word) else { return false };
    // A skipped test proves nothing: it counts neither way.
    rest.starts_with(|first: char| first.is_ascii_digit()) && !rest.contains("# SKIP")
}

fn cargo_result(line: &str) -> Option<(u64, u64)> {
    let (_, counts) = line.strip_prefix("test result: ")?.split_once(". ")?;
    let mut passed_failed = counts.split("; ");
    let passed = passed_failed.next()?.strip_suffix(" passed")?.parse().ok()?;
    let failed = passed_failed.next()?.strip_suffix(" failed")?.parse().ok()?;
    Some((passed, failed))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(dialect: Dialect, output: &str) -> (u64, u64) {
        output
            .lines()
            .map(|line| dialect.count(line))
            .fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
    }

    #[test]
    fn counts_every_test_program_of_a_cargo_test() {
        let output = "running 3 tests\ntest a ... ok\n\
            test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out\n\
            test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured\n";
        assert_eq!(count(Dialect::Cargo, output), (4, 2));
    }

    #[test]
    fn counts_tap_results_but_not_subtests_plans_or_skips() {
        let output = "TAP version 14\n1..4\nok 1 - registers\nnot ok 2 - fails over\n    \
            ok 1 - a step\nok 3 - no browser # SKIP\nok then\n# ok 4\nok 4\n";
        assert_eq!(count(Dialect::Tap, output), (2, 1));
    }

    #[test]
    fn the_sum_stands_alone_on_the_last_line() {
        let mut tally = Tally::default();
        tally.add(Row { part: "unit".into(), passed: 5, failed: 0 });
        tally.add(Row { part: "suites".into(), passed: 2, failed: 1 });
        assert_eq!(tally.summary().lines().last(), Some("7 passed, 1 failed"));
        assert!(!tally.is_good());
    }

    #[test]
    fn no_test_at_all_is_not_good() {
        assert!(!Tally::default().is_good());
    }
}
