//! Counts what passed, what failed and what was skipped, from the words that test programs print.

/// A test that did not run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Skip {
    /// The test, as its program names it.
    pub(crate) test: String,
    /// Why, in the program's words; empty if it gives no reason.
    pub(crate) why: String,
}

/// What one part of the tests came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    /// The part, for a person.
    pub(crate) part: String,
    /// Tests that passed.
    pub(crate) passed: u64,
    /// Tests that failed; a part that could not run at all counts as one.
    pub(crate) failed: u64,
    /// Tests that did not run: they prove nothing, and count neither way.
    pub(crate) skipped: Vec<Skip>,
}

impl Row {
    /// A part of which nothing is known yet.
    pub(crate) fn new(part: &str) -> Self {
        Self { part: part.to_owned(), passed: 0, failed: 0, skipped: Vec::new() }
    }

    /// Takes in one line of output.
    pub(crate) fn read(&mut self, dialect: Dialect, line: &str) {
        match dialect {
            Dialect::Cargo => {
                if let Some((passed, failed)) = cargo_result(line) {
                    self.passed += passed;
                    self.failed += failed;
                }
                self.skipped.extend(cargo_skip(line));
            }
            Dialect::Tap => match tap_result(line) {
                Some((true, None)) => self.passed += 1,
                Some((_, Some(skip))) => self.skipped.push(skip),
                Some((false, None)) => self.failed += 1,
                None => {}
            },
        }
    }
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

    /// Every test that did not run.
    pub(crate) fn skipped(&self) -> impl Iterator<Item = &Skip> {
        self.rows.iter().flat_map(|row| &row.skipped)
    }

    /// Every test that did not run, a line per part, then the sum alone on the last line.
    pub(crate) fn summary(&self) -> String {
        let mut text = String::from("\n");
        for Skip { test, why } in self.skipped() {
            text.push_str(&format!("skipped {test}: {why}\n"));
        }
        for row in &self.rows {
            let mark = if row.failed == 0 { "ok    " } else { "FAILED" };
            let counts = counts(row.passed, row.failed, row.skipped.len());
            text.push_str(&format!("{mark} {}: {counts}.\n", row.part));
        }
        let sum = counts(self.passed(), self.failed(), self.skipped().count());
        text.push_str(&sum);
        text.push('\n');
        text
    }
}

fn counts(passed: u64, failed: u64, skipped: usize) -> String {
    let known = format!("{passed} passed, {failed} failed");
    if skipped == 0 { known } else { format!("{known}, {skipped} skipped") }
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

/// Whether a line reports a success, and what was skipped instead of run.
fn tap_result(line: &str) -> Option<(bool, Option<Skip>)> {
    let (good, rest) = match line.strip_prefix("not ok ") {
        Some(rest) => (false, rest),
        None => (true, line.strip_prefix("ok ")?),
    };
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let (number, name) = rest.split_at(digits);
    if number.is_empty() {
        return None;
    }
    let skip = name.split_once("# SKIP").map(|(name, why)| Skip {
        test: name.trim_start_matches([' ', '-']).trim_end().to_owned(),
        why: why.trim().to_owned(),
    });
    Some((good, skip))
}

/// `test cases::slow ... ignored, the reason`
fn cargo_skip(line: &str) -> Option<Skip> {
    let (test, end) = line.strip_prefix("test ")?.split_once(" ... ignored")?;
    let why = end.trim_start_matches(',').trim();
    Some(Skip { test: test.to_owned(), why: why.to_owned() })
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

    fn read(dialect: Dialect, output: &str) -> Row {
        let mut row = Row::new("part");
        output.lines().for_each(|line| row.read(dialect, line));
        row
    }

    fn skip(test: &str, why: &str) -> Skip {
        Skip { test: test.to_owned(), why: why.to_owned() }
    }

    #[test]
    fn counts_every_test_program_of_a_cargo_test() {
        let output = "running 4 tests\ntest a ... ok\ntest b::c ... ignored, needs a thing\n\
            test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out\n\
            test d ... ignored\n\
            test result: FAILED. 1 passed; 2 failed; 1 ignored; 0 measured\n";
        let row = read(Dialect::Cargo, output);
        assert_eq!((row.passed, row.failed), (4, 2));
        assert_eq!(row.skipped, [skip("b::c", "needs a thing"), skip("d", "")]);
    }

    #[test]
    fn counts_tap_results_but_not_subtests_or_plans() {
        let output = "TAP version 14\n1..5\nok 1 - registers\nnot ok 2 - fails over\n    \
            ok 1 - a step\nok 3 - cut/wire # SKIP needs nft\nok 4 # SKIP\nok then\n# ok 4\nok 5\n";
        let row = read(Dialect::Tap, output);
        assert_eq!((row.passed, row.failed), (2, 1));
        assert_eq!(row.skipped, [skip("cut/wire", "needs nft"), skip("", "")]);
    }

    #[test]
    fn the_sum_stands_alone_on_the_last_line_and_says_what_was_skipped() {
        let mut tally = Tally::default();
        tally.add(Row { passed: 5, ..Row::new("unit") });
        assert_eq!(tally.summary().lines().last(), Some("5 passed, 0 failed"));
        let skipped = vec![skip("cut/wire", "needs nft")];
        tally.add(Row { passed: 2, failed: 1, skipped, ..Row::new("suites") });
        let summary = tally.summary();
        assert_eq!(summary.lines().last(), Some("7 passed, 1 failed, 1 skipped"));
        assert!(summary.contains("suites: 2 passed, 1 failed, 1 skipped."), "{summary}");
        assert!(summary.contains("skipped cut/wire: needs nft\n"), "{summary}");
        assert!(!tally.is_good());
    }

    #[test]
    fn no_test_at_all_is_not_good() {
        assert!(!Tally::default().is_good());
    }
}
