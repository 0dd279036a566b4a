//! The index killed behind each thing that it does, in each of the stories in which nodes die, come
//! back, swap roles or get new ones. It is started again, the story goes on, and peace must come.
//!
//! A story is played once to count the moments; then once for each of them, and each way to be
//! killed there that makes a difference: what was being written has reached the disk or not, a
//! `flush_all` its node or not, and nodes ended their copies meanwhile or not.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::killed::Death;
use crate::peace;
use crate::sim::World;

/// What is special about a story.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Story<'a> {
    /// What the undisturbed story must tell, or it proves nothing.
    pub(crate) sees: &'a [&'a str],
    pub(crate) disks_are_lost: bool,
}

/// Plays the story undisturbed, and with each death of the index.
pub(crate) fn each_death(name: &str, start: &World, story: Story<'_>, play: impl Fn(&mut World)) {
    let told = |death: Option<Death>, is_silent: bool| {
        let mut world = start.clone();
        (world.death, world.is_silent) = (death, is_silent);
        let played = catch_unwind(AssertUnwindSafe(|| {
            play(&mut world);
            peace::make(&mut world, story.disks_are_lost);
        }));
        (world, played.is_ok())
    };
    let (undisturbed, is_well) = told(None, false);
    let text = undisturbed.story.join("\n");
    assert!(is_well, "{name}, undisturbed\n{text}");
    for seen in story.sees {
        assert!(text.contains(seen), "{name} does not tell of {seen:?}\n{text}");
    }
    let mut deaths = 0;
    let before = start.moments.len();
    for (behind, ways) in (1..).zip(&undisturbed.moments).skip(before) {
        for way in 0..*ways {
            deaths += 1;
            let death = Death { behind, way };
            let (world, is_well) = told(Some(death), true);
            assert!(world.death.is_none(), "{name}: the same story, so the index dies");
            if !is_well {
                let (world, _) = told(Some(death), false);
                panic!("{name}, {death:?}\n{}", world.story.join("\n"));
            }
        }
    }
    println!("{name}: {} moments, {deaths} deaths", undisturbed.moments.len() - before);
}
