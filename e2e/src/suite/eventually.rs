//! Waiting for a condition with a deadline: the only way in which a suite waits. Nothing here
//! knows what is waited for.

use std::future::Future;
use std::time::Duration;

use anyhow::{Result, anyhow};
use tokio::time::{Instant, sleep, timeout_at};

/// Pause between two looks. Short enough to see a state that lasts a tenth of a second, long
/// enough that looking does not take the processor from what is looked at.
const PAUSE: Duration = Duration::from_millis(20);

/// How long a suite waits for what should come within a second or two on an idle machine. Long,
/// because a busy machine must not make a sound program fail.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Looks again and again until `condition` succeeds, and returns what it found.
///
/// `what` completes the sentence "waited in vain for …". The error carries the last reason why
/// the condition did not hold.
pub async fn eventually<T, F, C>(deadline: Duration, what: &str, mut condition: C) -> Result<T>
where
    C: FnMut() -> F,
    F: Future<Output = Result<T>>,
{
    let end = Instant::now() + deadline;
    let mut last = anyhow!("it was not even looked at once");
    loop {
        match timeout_at(end, condition()).await {
            Ok(Ok(found)) => return Ok(found),
            Ok(Err(reason)) => last = reason,
            Err(_) => last = last.context("the last look took too long"),
        }
        if Instant::now() >= end {
            return Err(last.context(format!("waited {deadline:?} in vain for {what}")));
        }
        sleep(PAUSE).await;
    }
}

/// Looks again and again for `period` and fails as soon as `condition` does not hold: for what
/// must *not* happen.
pub async fn throughout<F, C>(period: Duration, what: &str, mut condition: C) -> Result<()>
where
    C: FnMut() -> F,
    F: Future<Output = Result<()>>,
{
    let end = Instant::now() + period;
    while Instant::now() < end {
        condition().await.map_err(|reason| reason.context(format!("did not hold: {what}")))?;
        sleep(PAUSE).await;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[tokio::test(start_paused = true)]
    async fn it_returns_as_soon_as_the_condition_holds() {
        let looks = Cell::new(0);
        let found = eventually(PATIENCE, "three looks", || async {
            looks.set(looks.get() + 1);
            if looks.get() == 3 { Ok(looks.get()) } else { Err(anyhow!("not yet")) }
        });
        assert_eq!(found.await.unwrap(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn it_gives_up_at_the_deadline_with_the_last_reason() {
        let error = eventually::<(), _, _>(PATIENCE, "a miracle", || async {
            Err(anyhow!("there are none"))
        });
        let text = format!("{:#}", error.await.unwrap_err());
        assert!(text.contains("a miracle") && text.contains("there are none"), "{text}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_condition_that_never_answers_does_not_outlast_the_deadline() {
        let error = eventually::<(), _, _>(PATIENCE, "an answer", std::future::pending);
        assert!(error.await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn what_must_not_happen_fails_at_once() {
        let looks = Cell::new(0);
        let outcome = throughout(PATIENCE, "fewer than four looks", || async {
            looks.set(looks.get() + 1);
            if looks.get() < 4 { Ok(()) } else { Err(anyhow!("the fourth")) }
        });
        assert!(outcome.await.is_err());
        assert_eq!(looks.get(), 4);
    }
}
