//! The short fuzz of `cargo xtask ci`: every target of `fuzz/` for a few seconds, from the recorded
//! streams, as a check that nothing is found quickly. fuzz/README.md describes long runs.

use anyhow::{Context, Result};

use crate::run;
use crate::test::cargo;

/// How long each target runs.
const SECONDS: u32 = 10;

/// Runs all targets, one after the other; an error names the first that found something.
pub(crate) fn short() -> Result<()> {
    let folder = crate::repository().join("fuzz");
    run::must(&mut cargo(&["run", "--locked", "-p", "flare-core", "--example", "fuzz_seeds"]))?;
    std::fs::create_dir_all(folder.join("artifacts"))?;
    // Its own configuration, with the coverage that libFuzzer wants, is found from within it.
    let mut build = cargo(&["build", "--locked", "--release"]);
    run::must(build.current_dir(&folder))?;
    for target in targets()? {
        let time = format!("-max_total_time={SECONDS}");
        let mut program = cargo(&["run", "--locked", "--release", "--bin", &target, "--", &time]);
        program.arg("-artifact_prefix=artifacts/").arg(format!("corpus/{target}"));
        run::must(program.current_dir(&folder))
            .with_context(|| format!("fuzz target {target}: the input is in fuzz/artifacts"))?;
    }
    Ok(())
}

/// The names of the targets, in order.
fn targets() -> Result<Vec<String>> {
    let folder = crate::repository().join("fuzz/fuzz_targets");
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).context("cannot list the fuzz targets")? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "rs")
            && let Some(name) = path.file_stem()
        {
            names.push(name.to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}
