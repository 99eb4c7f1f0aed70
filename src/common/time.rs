//! Owns what a moment is: two clocks, read together by the shell and handed to what decides. Pure.

use super::Millis;

/// A moment. How long something takes goes by `ticks`: a wall clock that is set must neither stretch nor shorten it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds of a clock that never goes back, since some start of its own.
    pub ticks: Millis,
    /// Milliseconds since the epoch: for what is written, and for what is compared with what was written.
    pub wall: Millis,
}

impl Now {
    /// The ticks of something that a record dates with `wall`: not in the future, and not longer ago than `most`. So a
    /// deadline that is counted from it comes after its whole length at the latest.
    pub fn ticks_at(self, wall: Millis, most: Millis) -> Millis {
        self.ticks.saturating_sub(self.wall.saturating_sub(wall).clamp(0, most.max(0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_was_set_never_makes_a_wait_longer_than_it_is() {
        let now = Now { ticks: 500, wall: 10_000 };
        assert_eq!(now.ticks_at(9_900, 60), 440, "longer ago than it counts");
        assert_eq!(now.ticks_at(9_990, 60), 490);
        assert_eq!(now.ticks_at(3_610_000, 60), 500, "written before the clock was set back");
        assert_eq!(now.ticks_at(-1, i64::MAX), 500 - 10_001);
    }
}
