//! How a command that a person typed ends: what it prints, and which exit code it has.

use std::io::{self, ErrorKind, Write};

use anyhow::{Context, Result};
use clap::ValueEnum;

/// The command line makes no sense, or whom it is about cannot be reached: exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Misuse(pub(crate) String);

/// How something is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For a person.
    Text,
    /// For a program.
    Json,
}

impl Misuse {
    /// Such an error, for what says in a sentence what is wrong with the command line.
    pub(crate) fn of(sentence: impl Into<String>) -> Self {
        Self(sentence.into())
    }
}

/// Writes to stdout. A reader that has seen enough (`| head`) is no failure.
///
/// # Errors
/// When stdout cannot be written to for another reason.
pub(crate) fn print(text: &str) -> Result<()> {
    print_bytes(text.as_bytes())
}

/// The same, for what need not be text.
///
/// # Errors
/// As [`print()`].
pub(crate) fn print_bytes(bytes: &[u8]) -> Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(error).context("the answer cannot be written to stdout")
        }
        _ => Ok(()),
    }
}
