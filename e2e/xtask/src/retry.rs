//! What asks a registry is tried again: a package that does not come at the first try is no reason
//! for a run of half an hour to fail. What is wrong for good fails a little later, in its own
//! words.

use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

/// How often at most.
const TRIES: u32 = 3;

/// Before the second try; three times as long before the third.
const PAUSE: Duration = Duration::from_secs(10);

/// Does something that needs a registry, again if it fails; the error of the last try.
pub(crate) fn fetching<T>(what: &str, work: impl FnMut() -> Result<T>) -> Result<T> {
    up_to(TRIES, PAUSE, what, work)
}

fn up_to<T>(
    tries: u32,
    mut pause: Duration,
    what: &str,
    mut work: impl FnMut() -> Result<T>,
) -> Result<T> {
    for number in 2..=tries {
        match work() {
            Ok(done) => return Ok(done),
            Err(error) => {
                let seconds = pause.as_secs();
                eprintln!("{what}: {error:#}; try {number} of {tries} in {seconds} s");
            }
        }
        thread::sleep(pause);
        pause *= 3;
    }
    work().with_context(|| format!("{what}, tried {tries} times"))
}

#[cfg(test)]
mod tests {
    use anyhow::bail;

    use super::*;

    /// How often work that fails `failures` times is tried, and how it ends.
    fn tried(failures: u32) -> (u32, Result<u32>) {
        let mut tries = 0;
        let end = up_to(3, Duration::ZERO, "get it", || {
            tries += 1;
            if tries <= failures { bail!("failure {tries}") } else { Ok(tries) }
        });
        (tries, end)
    }

    #[test]
    fn what_works_is_done_once() {
        assert!(matches!(tried(0), (1, Ok(1))));
    }

    #[test]
    fn what_fails_is_tried_again_and_not_for_ever() {
        assert!(matches!(tried(2), (3, Ok(3))));
        let (tries, end) = tried(9);
        assert_eq!(tries, 3);
        let sentence = format!("{:#}", end.unwrap_err());
        assert_eq!(sentence, "get it, tried 3 times: failure 3");
    }
}
