//! The tests, by suite. Each name is `<suite>/<what holds>`.

mod assignment;
mod commands;
mod connections;
mod copying;
mod failover;
mod false_alarms;
mod flapping;
mod handover;
mod handover_held;
mod handover_steps;
mod handover_troubles;
mod index_faults;
mod index_life;
mod input;
mod leaving;
mod manual;
mod masters;
mod moving;
mod pairs;
mod partial;
mod registration;
mod reports;
mod restarts;
mod returning;
mod returning_lost;
mod scale_out;
mod sick;
mod sync_mode;
mod writers;
mod zone;
mod zones;

use std::time::Duration;

use super::runner::Case;

/// Enough for most tests on a busy machine: a few waits of a second or two each, and one that was
/// in vain, so that its own words come out.
const USUAL: Duration = Duration::from_secs(240);

/// For tests that do something at each step of what they watch, or after each.
const LONG: Duration = Duration::from_secs(600);

/// The suites, from the simple to the complicated.
const SUITES: &[&[Case]] = &[
    manual::CASES,
    registration::CASES,
    assignment::CASES,
    failover::CASES,
    masters::CASES,
    pairs::CASES,
    returning::CASES,
    returning_lost::CASES,
    leaving::CASES,
    moving::CASES,
    sick::CASES,
    copying::CASES,
    scale_out::CASES,
    handover::CASES,
    handover_held::CASES,
    handover_steps::CASES,
    sync_mode::CASES,
    writers::CASES,
    reports::CASES,
    commands::CASES,
    connections::CASES,
    index_life::CASES,
    index_faults::CASES,
    restarts::CASES,
    flapping::CASES,
    false_alarms::CASES,
    partial::CASES,
    zone::CASES,
    zones::CASES,
    input::CASES,
];

/// All tests of all suites.
pub fn suites() -> Vec<Case> {
    SUITES.concat()
}

/// Builds a [`Case`] from a name and an `async fn(Context, …) -> Result<()>`.
macro_rules! case {
    ($name:literal, $test:ident($($given:expr),+)) => {
        case!($name, $test($($given),+), super::USUAL)
    };
    ($name:literal, $test:ident($($given:expr),+), $deadline:expr) => {
        $crate::suite::runner::Case {
            name: $name,
            deadline: $deadline,
            run: |ctx| Box::pin($test(ctx, $($given),+)),
        }
    };
    ($name:literal, $test:path) => {
        case!($name, $test, super::USUAL)
    };
    ($name:literal, $test:path, $deadline:expr) => {
        $crate::suite::runner::Case {
            name: $name,
            deadline: $deadline,
            run: |ctx| Box::pin($test(ctx)),
        }
    };
}
use case;

#[cfg(test)]
mod tests {
    #[test]
    fn names_are_unique_and_have_a_suite() {
        let mut seen = std::collections::BTreeSet::new();
        for case in super::suites() {
            assert!(case.name.contains('/'), "{}", case.name);
            assert!(seen.insert(case.name), "{} is there twice", case.name);
        }
    }
}
