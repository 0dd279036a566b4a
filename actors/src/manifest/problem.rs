//! What is wrong with a manifest, in sentences for the person who wrote it.

use std::fmt;

use serde_saphyr::{MessageFormatter, Spanned, UserMessageFormatter};

/// One thing that is wrong, and the line it stands on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The line of the file, from 1; `None` where no single line is to blame.
    pub line: Option<u64>,
    /// What was wrong and what to do; no full stop.
    pub sentence: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        f.write_str(&self.sentence)
    }
}

/// Everything that is wrong with one manifest; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl Problems {
    /// One problem without a line.
    pub(super) fn one(sentence: String) -> Self {
        Self(vec![Problem { line: None, sentence }])
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("; ")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// The longest piece of a line that a sentence repeats, in characters.
const QUOTE_CHARS_MAX: usize = 80;

impl Problems {
    /// What the YAML reader says about `text`, in a person's words, with the line repeated.
    pub(super) fn of_reader(error: &serde_saphyr::Error, text: &str) -> Self {
        let error = error.without_snippet();
        let line = error.location().map(|location| location.line()).filter(|line| *line > 0);
        let said = UserMessageFormatter.format_message(error);
        let mut sentence = match said.as_ref() {
            "invalid i64" => "a whole number is needed".to_owned(),
            "invalid boolean" => "true or false is needed".to_owned(),
            "expected mapping start" => "`name: value` is needed".to_owned(),
            "expected string scalar" => "a text is needed".to_owned(),
            other => other.to_owned(),
        };
        let quoted = line
            .and_then(|line| text.lines().nth(usize::try_from(line - 1).ok()?))
            .map(|quoted| quoted.trim().chars().take(QUOTE_CHARS_MAX).collect::<String>());
        if let Some(quoted) = quoted.filter(|quoted| !quoted.is_empty()) {
            sentence = format!("{sentence}, in `{}`", quoted.escape_debug());
        }
        Self(vec![Problem { line, sentence }])
    }
}

/// Gathers problems while a manifest is checked, so that a person learns of all at once.
#[derive(Debug, Default)]
pub(super) struct Gathered(Vec<Problem>);

impl Gathered {
    /// Notes a problem with a value that stands in the file.
    pub(super) fn at<T>(&mut self, value: &Spanned<T>, sentence: String) {
        let line = Some(value.referenced.line()).filter(|line| *line > 0);
        self.0.push(Problem { line, sentence });
    }

    /// Notes a problem of the file as a whole.
    pub(super) fn whole(&mut self, sentence: String) {
        self.0.push(Problem { line: None, sentence });
    }

    /// All of them, in the order of their lines.
    pub(super) fn finish(mut self) -> Result<(), Problems> {
        if self.0.is_empty() {
            return Ok(());
        }
        self.0.sort_by_key(|problem| problem.line);
        Err(Problems(self.0))
    }
}
