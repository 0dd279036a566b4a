//! `cargo xtask ci`: what gates a landing. The quick checks come first, the tests last, so that
//! their sum ends the output.

use std::process::ExitCode;

use anyhow::Result;

use crate::fuzz;
use crate::run;
use crate::skips;
use crate::tally::Tally;
use crate::test::{self, cargo};

/// Runs every step, also after one has failed: one run shows all there is to mend.
pub(crate) fn main() -> Result<ExitCode> {
    let mut tally = Tally::default();
    // First, since a machine that lacks something is to be told so at once.
    let kubernetes = test::kubernetes_can_run(&mut tally);
    tally.add(run::step("format", || run::must(&mut cargo(&["fmt", "--all", "--check"]))));
    tally.add(run::step("clippy", || {
        run::must(
            cargo(&["clippy", "--workspace", "--all-targets", "--locked", "--"])
                .args(["-D", "warnings"]),
        )
    }));
    tally.add(run::step("docs", || {
        run::must(
            cargo(&["doc", "--workspace", "--no-deps", "--document-private-items", "--locked"])
                // Private items are documented here, so that links to them lead somewhere.
                .env("RUSTDOCFLAGS", "-D warnings -A rustdoc::private_intra_doc_links"),
        )
    }));
    tally.add(run::step("short fuzz", fuzz::short));
    test::all(&mut tally);
    if kubernetes {
        test::kubernetes(&mut tally);
    }
    skips::judge(&mut tally);
    Ok(test::finish(&tally))
}
