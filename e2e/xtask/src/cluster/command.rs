//! Running other programs to their end, with errors that say which one failed and what it said.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, bail};

/// A command from words that hold no blanks.
pub(crate) fn words(line: &str) -> Command {
    let mut words = line.split_whitespace();
    let mut command = Command::new(words.next().expect("callers name a program"));
    command.args(words);
    command
}

/// Runs a command to its end; its standard output. Fails, with what it said, unless it succeeds.
pub(crate) fn run(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("start {}", line_of(command)))?;
    checked(command, &output)
}

/// Like [`run`], with text on its standard input.
pub(crate) fn run_with_input(command: &mut Command, input: &str) -> Result<String> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("start {}", line_of(command)))?;
    let mut pipe = child.stdin.take().expect("stdin is piped");
    // A program that ends early closes its end; its own words then say why.
    let written = pipe.write_all(input.as_bytes());
    drop(pipe);
    let output = child.wait_with_output().with_context(|| line_of(command))?;
    let text = checked(command, &output)?;
    written.with_context(|| format!("write to {}", line_of(command)))?;
    Ok(text)
}

fn checked(command: &Command, output: &Output) -> Result<String> {
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{}: {}: {}", line_of(command), output.status, said.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn line_of(command: &Command) -> String {
    let mut line = command.get_program().to_string_lossy().into_owned();
    for argument in command.get_args() {
        let _ = write!(line, " {}", argument.to_string_lossy());
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_the_command_and_repeats_its_words() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo no such device >&2; exit 3"]);
        let error = run(&mut command).expect_err("it fails").to_string();
        assert!(error.contains("sh -c") && error.contains("no such device"), "{error}");
        assert!(error.contains('3'), "{error}");
    }

    #[test]
    fn input_reaches_the_program() {
        assert_eq!(run_with_input(&mut words("cat"), "two\nlines\n").expect("cat"), "two\nlines\n");
    }
}
