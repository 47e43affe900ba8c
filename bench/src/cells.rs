//! What a comparison varies: how many sagas are in flight, and of how many steps each of them is.

use std::fmt;

use crate::load;

const IN_FLIGHT: [usize; 3] = [1, 64, 1_024];
const STEPS: [usize; 4] = [1, 4, 16, 64];
/// With more steps in flight a run would end before a saga does.
pub(crate) const STEPS_IN_FLIGHT_MAX: usize = 16_384;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cell {
    pub(crate) in_flight: usize,
    /// All parallel.
    pub(crate) steps: usize,
}

impl Cell {
    /// Sagas as the other benchmarks have them.
    pub(crate) fn usual() -> Vec<Self> {
        IN_FLIGHT.map(|in_flight| Self { in_flight, steps: load::STEPS }).to_vec()
    }

    /// From one step to many.
    pub(crate) fn grid() -> Vec<Self> {
        let all =
            IN_FLIGHT.iter().flat_map(|in_flight| STEPS.map(|steps| Self { in_flight: *in_flight, steps }));
        all.filter(|cell| cell.in_flight * cell.steps <= STEPS_IN_FLIGHT_MAX).collect()
    }
}

/// As lines of one table begin.
impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>5} in flight of {:>2} steps", self.in_flight, self.steps)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grid_leaves_out_what_would_not_end() {
        let grid = Cell::grid();
        assert_eq!(grid.len(), 11);
        assert!(grid.contains(&Cell { in_flight: 1_024, steps: 16 }));
        assert!(!grid.contains(&Cell { in_flight: 1_024, steps: 64 }));
    }
}
