//! Chance from a seed: the same seed, the same world. Or none at all.

/// What may happen either way.
#[derive(Debug, Clone)]
pub(crate) enum Rng {
    /// SplitMix64: small, and good enough to choose what happens next.
    Seeded(u64),
    /// The rarer thing happens always, or never.
    Fixed(bool),
}

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Self::Seeded(seed)
    }

    /// A number below `end`: the lowest stands for the rarer thing.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        let end = end.max(1);
        match self {
            Self::Fixed(rare) => {
                if *rare {
                    0
                } else {
                    end - 1
                }
            }
            Self::Seeded(state) => {
                let end = u64::try_from(end).expect("a small number");
                usize::try_from(next(state) % end).expect("a small number")
            }
        }
    }

    /// True once in `times`.
    pub(crate) fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }
}

fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
