//! Runs tests: several at a time, each with a deadline and a scratch folder that is kept when the
//! test fails, and writes TAP as they end. A panic fails its test only.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use futures_util::future::BoxFuture;
use futures_util::stream::{self, StreamExt};
use tokio::time::timeout;

use super::context::{Context, Env};
use super::tap::{Tap, Verdict};

/// A test's way to say that it cannot be run here.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Skip(pub String);

/// Ends a test as skipped.
pub fn skip<T>(why: &str) -> Result<T> {
    Err(Skip(why.to_owned()).into())
}

/// One test.
#[derive(Clone, Copy)]
pub struct Case {
    /// `<suite>/<what holds>`, unique.
    pub name: &'static str,
    /// How long it may take on a busy machine.
    pub deadline: Duration,
    /// The test.
    pub run: fn(Context) -> BoxFuture<'static, Result<()>>,
}

impl std::fmt::Debug for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Case").field("name", &self.name).finish_non_exhaustive()
    }
}

/// How to run.
#[derive(Debug)]
pub struct Plan {
    /// The tests.
    pub cases: Vec<Case>,
    /// What they share.
    pub env: Arc<Env>,
    /// How many run at a time, at least one.
    pub jobs: usize,
    /// Where scratch folders are made.
    pub scratch: PathBuf,
    /// Whether the folders of passed tests are kept too.
    pub keep: bool,
}

/// Runs all tests of the plan; true if none failed.
pub async fn run(plan: Plan, out: impl io::Write) -> Result<bool> {
    let mut tap = Tap::start(out, plan.cases.len())?;
    tap.comment(&format!("scratch folders in {}", plan.scratch.display()))?;
    let (env, scratch) = (plan.env, plan.scratch);
    let ends = stream::iter(plan.cases).map(|case| {
        let (env, folder) = (Arc::clone(&env), scratch.join(folder_name(case.name)));
        async move {
            let started = Instant::now();
            let verdict = one(case, env, &folder).await;
            (case.name, verdict, started.elapsed(), folder)
        }
    });
    let mut ends = ends.buffer_unordered(plan.jobs.max(1));
    while let Some((name, verdict, took, folder)) = ends.next().await {
        tap.point(name, &verdict, took, Some(&folder))?;
        if !plan.keep && !matches!(verdict, Verdict::Failed(_)) {
            // a leftover folder is no reason to fail what passed
            fs::remove_dir_all(&folder).ok();
        }
    }
    Ok(tap.finish()?)
}

/// The test's name as one word, so that a path can be pasted into a shell.
fn folder_name(name: &str) -> String {
    name.replace(|c: char| !c.is_ascii_alphanumeric(), "-")
}

async fn one(case: Case, env: Arc<Env>, folder: &PathBuf) -> Verdict {
    // what an earlier run left there must not be found by an index
    let cleared = if folder.exists() { fs::remove_dir_all(folder) } else { Ok(()) };
    if let Err(error) = cleared.and_then(|()| fs::create_dir_all(folder)) {
        return Verdict::Failed(format!("cannot make {} anew: {error}", folder.display()));
    }
    // on a task of its own, so that a panic comes back as a value and whatever the test owned,
    // processes above all, is dropped
    let mut task = tokio::spawn((case.run)(Context::new(case.name, env, folder.clone())));
    let outcome = match timeout(case.deadline, &mut task).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(broken)) => Err(broken).context("the test panicked"),
        Err(_) => {
            task.abort();
            // wait for the abort, so that its processes are gone before the next test starts
            drop(task.await);
            Err(anyhow::anyhow!("not done after {:?}", case.deadline))
        }
    };
    match outcome {
        Ok(()) => Verdict::Passed,
        Err(error) => match error.downcast_ref::<Skip>() {
            Some(skip) => Verdict::Skipped(skip.0.clone()),
            None => Verdict::Failed(format!("{error:#}")),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::super::index::IndexProgram;
    use super::super::node::NodeProgram;
    use super::super::ports::Ports;
    use super::*;

    fn case(name: &'static str, run: fn(Context) -> BoxFuture<'static, Result<()>>) -> Case {
        Case { name, deadline: Duration::from_millis(300), run }
    }

    #[tokio::test]
    async fn a_failure_a_panic_and_a_hang_are_told_apart_and_keep_their_folder() {
        let folder = tempfile::tempdir().unwrap();
        let env = Arc::new(Env {
            index: IndexProgram::Ours("index".into()),
            nodes: NodeProgram::StandIn("node".into()),
            ports: Ports::new(),
        });
        let plan = Plan {
            cases: vec![
                case("s/passes", |_| Box::pin(async { Ok(()) })),
                case("s/fails", |_| Box::pin(async { anyhow::bail!("it is broken") })),
                case("s/panics", |_| Box::pin(async { panic!("at the disco") })),
                case("s/hangs", |_| Box::pin(std::future::pending())),
                case("s/skips", |_| Box::pin(async { skip("no reason") })),
            ],
            env,
            jobs: 1,
            scratch: folder.path().to_owned(),
            keep: false,
        };
        let mut out = Vec::new();
        assert!(!run(plan, &mut out).await.unwrap());
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains("ok 1 - s/passes"), "{text}");
        assert!(
            text.contains("not ok 2 - s/fails\n  ---\n  message: |\n    it is broken"),
            "{text}"
        );
        assert!(text.contains("not ok 3 - s/panics") && text.contains("disco"), "{text}");
        assert!(text.contains("not ok 4 - s/hangs") && text.contains("not done"), "{text}");
        assert!(text.contains("ok 5 - s/skips # SKIP no reason"), "{text}");
        assert!(!folder.path().join("s-passes").exists());
        assert!(folder.path().join("s-fails").exists());
    }
}
