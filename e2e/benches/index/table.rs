//! Figures side by side: floor, ours, upstream's; and the table that README shows.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// What is measured, in the order of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Figure {
    Registered,
    ChangeP50,
    ChangeP99,
    StatsNodes,
    DeathP50,
    DeathMax,
    HangP50,
    HangMax,
    Threads,
    Memory,
    IdleMemory,
    IdlePing,
}

/// What a figure should come to.
enum Goal {
    /// At most so much.
    AtMost(f64),
    /// At most so many times the floor.
    TimesFloor(f64),
    /// At least this share of the floor.
    ShareOfFloor(f64),
    None,
}

impl Figure {
    fn words(self, idle: usize) -> String {
        match self {
            Self::Registered => "all register at once, until all hold the newest map, s".into(),
            Self::ChangeP50 => "a change, until the last node has acknowledged it, p50, ms".into(),
            Self::ChangeP99 => "the same, p99, ms".into(),
            Self::StatsNodes => "`stats nodes`, requests per second".into(),
            Self::DeathP50 => {
                "a master's process dies, until all nodes hold the new map, p50, ms".into()
            }
            Self::DeathMax | Self::HangMax => "the same, longest, ms".into(),
            Self::HangP50 => {
                "a master's process hangs, until all others hold the new map, p50, ms".into()
            }
            Self::Threads => "threads".into(),
            Self::Memory => "resident memory, MiB".into(),
            Self::IdleMemory => format!("resident memory with {idle} idle connections, MiB"),
            Self::IdlePing => format!("`ping` beside {idle} idle connections, p99, ms"),
        }
    }

    fn goal(self, nodes: usize) -> Goal {
        match (self, nodes) {
            (Self::Registered, 1000) => Goal::AtMost(2.0),
            (Self::ChangeP50, 40 | 1000) => Goal::TimesFloor(1.5),
            (Self::ChangeP99, 40 | 1000) => Goal::TimesFloor(3.0),
            (Self::StatsNodes, _) => Goal::ShareOfFloor(0.7),
            (Self::DeathMax, 40) => Goal::AtMost(300.0),
            (Self::Threads, _) => Goal::AtMost(15.0),
            (Self::Memory, 200) => Goal::AtMost(20.0),
            (Self::Memory, 1000) => Goal::AtMost(40.0),
            _ => Goal::None,
        }
    }
}

/// All figures so far.
#[derive(Debug, Default)]
pub(crate) struct Table {
    rows: BTreeMap<(Figure, usize), BTreeMap<&'static str, f64>>,
    idle: usize,
}

impl Table {
    /// Takes in one figure of one server.
    pub(crate) fn set(&mut self, figure: Figure, nodes: usize, server: &'static str, value: f64) {
        self.rows.entry((figure, nodes)).or_default().insert(server, value);
        eprintln!("  {}: {}", figure.words(self.idle), short(value));
    }

    /// How many idle connections there were, for the words.
    pub(crate) fn idle(&mut self, idle: usize) {
        self.idle = idle;
    }

    /// One line per figure and number of nodes.
    pub(crate) fn markdown(&self) -> String {
        let mut text = String::from(
            "| figure | nodes | floor | flare-operator | goal | flarei |\n\
             |---|---|---|---|---|---|\n",
        );
        for ((figure, nodes), values) in &self.rows {
            let cell =
                |server: &str| values.get(server).map_or("–".into(), |value| short(*value));
            let goal = verdict(&figure.goal(*nodes), values);
            writeln!(
                text,
                "| {} | {nodes} | {} | {} | {goal} | {} |",
                figure.words(self.idle),
                cell("floor"),
                cell("flare-operator"),
                cell("flarei"),
            )
            .expect("writing to a string cannot fail");
        }
        text
    }
}

fn verdict(goal: &Goal, values: &BTreeMap<&'static str, f64>) -> String {
    let (Some(ours), Some(floor)) = (values.get("flare-operator"), values.get("floor")) else {
        return String::new();
    };
    let (words, reached) = match goal {
        Goal::AtMost(most) => (format!("at most {most}"), ours <= most),
        Goal::TimesFloor(times) => {
            (format!("{:.2} × floor, at most {times}", ours / floor), ours / floor <= *times)
        }
        Goal::ShareOfFloor(share) => {
            let reached = ours / floor >= *share;
            (
                format!("{:.0} % of floor, at least {:.0} %", ours / floor * 100.0, share * 100.0),
                reached,
            )
        }
        Goal::None => return String::new(),
    };
    if reached { words } else { format!("**missed**: {words}") }
}

/// Three digits are enough.
fn short(value: f64) -> String {
    if value >= 100.0 {
        format!("{value:.0}")
    } else if value >= 10.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    }
}
