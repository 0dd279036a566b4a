//! TAP version 14 on a writer: the plan, one line per test, and for a failed one the details as a
//! YAML block. Knows nothing of how tests are run.

use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

/// How a test ended.
#[derive(Debug)]
pub enum Verdict {
    /// It holds.
    Passed,
    /// It does not hold, for the reason given.
    Failed(String),
    /// It cannot be run here, for the reason given.
    Skipped(String),
}

/// Writes a TAP document. Test numbers follow the order in which tests end.
#[derive(Debug)]
pub struct Tap<W> {
    out: W,
    number: usize,
    failed: usize,
    skipped: usize,
}

impl<W: Write> Tap<W> {
    /// Starts a document of `count` tests.
    pub fn start(mut out: W, count: usize) -> io::Result<Self> {
        writeln!(out, "TAP version 14\n1..{count}")?;
        out.flush()?;
        Ok(Self { out, number: 0, failed: 0, skipped: 0 })
    }

    /// Writes a comment that readers of TAP ignore.
    pub fn comment(&mut self, text: &str) -> io::Result<()> {
        for line in text.lines() {
            writeln!(self.out, "# {line}")?;
        }
        self.out.flush()
    }

    /// Writes the line of one test, and the details if it failed.
    pub fn point(
        &mut self,
        name: &str,
        verdict: &Verdict,
        took: Duration,
        logs: Option<&Path>,
    ) -> io::Result<()> {
        self.number += 1;
        let (number, millis) = (self.number, took.as_millis());
        match verdict {
            Verdict::Passed => writeln!(self.out, "ok {number} - {name} # {millis} ms")?,
            Verdict::Skipped(why) => {
                self.skipped += 1;
                writeln!(self.out, "ok {number} - {name} # SKIP {}", one_line(why))?;
            }
            Verdict::Failed(why) => {
                self.failed += 1;
                writeln!(self.out, "not ok {number} - {name}\n  ---\n  message: |")?;
                for line in why.lines() {
                    writeln!(self.out, "    {line}")?;
                }
                writeln!(self.out, "  duration_ms: {millis}")?;
                if let Some(logs) = logs {
                    writeln!(self.out, "  logs: {}", logs.display())?;
                }
                writeln!(self.out, "  ...")?;
            }
        }
        self.out.flush()
    }

    /// Writes the sum and tells whether every test that ran passed.
    pub fn finish(mut self) -> io::Result<bool> {
        let passed = self.number - self.failed - self.skipped;
        let (failed, skipped) = (self.failed, self.skipped);
        self.comment(&format!("passed {passed}, failed {failed}, skipped {skipped}"))?;
        Ok(self.failed == 0)
    }
}

/// A directive ends with its line, so a reason of several lines is joined.
fn one_line(text: &str) -> String {
    text.lines().map(str::trim).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_with_one_of_each() {
        let mut bytes = Vec::new();
        let mut tap = Tap::start(&mut bytes, 3).unwrap();
        let took = Duration::from_millis(7);
        tap.point("a/b", &Verdict::Passed, took, None).unwrap();
        tap.point("c", &Verdict::Skipped("needs\nroot".into()), took, None).unwrap();
        let failed = Verdict::Failed("line one\nline two".into());
        tap.point("d", &failed, took, Some(Path::new("/tmp/d"))).unwrap();
        assert!(!tap.finish().unwrap());
        let text = String::from_utf8(bytes).unwrap();
        assert_eq!(
            text,
            "TAP version 14\n1..3\nok 1 - a/b # 7 ms\nok 2 - c # SKIP needs; root\n\
             not ok 3 - d\n  ---\n  message: |\n    line one\n    line two\n  \
             duration_ms: 7\n  logs: /tmp/d\n  ...\n# passed 1, failed 1, skipped 1\n"
        );
    }
}
