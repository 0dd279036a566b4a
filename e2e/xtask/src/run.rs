//! Runs other programs: their output passes through line by line, and none runs for ever.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::tally::{Dialect, Row};

/// Longer than any part needs on two slow cores, shorter than what CI waits.
const DEADLINE: Duration = Duration::from_secs(40 * 60);

/// Runs a program to its end and prints what it prints; an error when it fails.
pub(crate) fn must(command: &mut Command) -> Result<()> {
    each_line(command, |_| {})
}

/// Runs a test program and counts what it reports. A program that fails without naming a failed
/// test counts as one failure, so that a crash is never a success.
pub(crate) fn counted(part: &str, dialect: Dialect, command: &mut Command) -> Row {
    let mut row = Row::new(part);
    let end = each_line(command, |line| row.read(dialect, line));
    if let Err(error) = end {
        eprintln!("{part}: {error:#}");
        row.failed = row.failed.max(1);
    } else if row.passed + row.failed == 0 {
        eprintln!("{part}: no test ran");
        row.failed = 1;
    }
    row
}

/// Runs a step that either succeeds or not; only its failure counts.
pub(crate) fn step(part: &str, work: impl FnOnce() -> Result<()>) -> Row {
    let started = Instant::now();
    say!("\n== {part}");
    let failed = match work() {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("{part}: {error:#}");
            1
        }
    };
    say!("== {part}: {} s", started.elapsed().as_secs());
    Row { failed, ..Row::new(part) }
}

fn each_line(command: &mut Command, mut on_line: impl FnMut(&str)) -> Result<()> {
    say!("$ {}", shown(command));
    let started = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .process_group(0)
        .spawn()
        .with_context(|| format!("cannot start `{}`", shown(command)))?;
    let stdout = child.stdout.take().context("the program's output is not connected")?;
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).split(b'\n').map_while(Result::ok) {
            if sender.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                return;
            }
        }
    });
    loop {
        match lines.recv_timeout(DEADLINE.saturating_sub(started.elapsed())) {
            Ok(line) => {
                say!("{line}");
                on_line(line.trim_end());
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
            Err(mpsc::RecvTimeoutError::Timeout) => {
                end_group(&mut child);
                bail!("ended after {} minutes without finishing", DEADLINE.as_secs() / 60);
            }
        }
    }
    let status = child.wait()?;
    if !status.success() {
        bail!("`{}` failed: {status}", shown(command));
    }
    Ok(())
}

/// Ends the program and everything it started: they share its process group.
fn end_group(child: &mut Child) {
    let group = format!("-{}", child.id());
    // Both may fail when the program has just ended by itself, which is what is wanted.
    let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
    let _ = child.wait();
}

fn shown(command: &Command) -> String {
    let mut text = command.get_program().to_string_lossy().into_owned();
    for argument in command.get_args() {
        text.push(' ');
        text.push_str(&argument.to_string_lossy());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn a_program_that_crashes_after_good_results_has_failed() {
        let row = counted("crash", Dialect::Tap, &mut shell("echo 'ok 1 - a'; exit 3"));
        assert_eq!((row.passed, row.failed), (1, 1));
    }

    #[test]
    fn a_program_that_tests_nothing_has_failed() {
        let row = counted("silence", Dialect::Tap, &mut shell("echo hello"));
        assert_eq!((row.passed, row.failed), (0, 1));
    }

    #[test]
    fn results_are_counted_with_crlf_too() {
        let row = counted("crlf", Dialect::Tap, &mut shell("printf 'ok 1\\r\\nok 2\\r\\n'"));
        assert_eq!((row.passed, row.failed), (2, 0));
    }
}
