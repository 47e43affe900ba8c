//! What several runs say of one figure.

use std::fmt;

use serde_json::{Value, json};

/// The median, and how far the others are from it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    low: f64,
    high: f64,
}

impl Spread {
    pub(crate) fn of(figures: impl IntoIterator<Item = f64>) -> Self {
        let mut figures: Vec<f64> = figures.into_iter().collect();
        figures.sort_by(f64::total_cmp);
        let [low, .., high] = figures[..] else {
            let only = figures.first().copied().expect("at least one run");
            return Self { median: only, low: only, high: only };
        };
        Self { median: figures[figures.len() / 2], low, high }
    }

    /// Of the same runs, counted by so many.
    pub(crate) fn times(self, factor: f64) -> Self {
        Self { median: self.median * factor, low: self.low * factor, high: self.high * factor }
    }

    pub(crate) fn json(&self) -> Value {
        json!({ "median": self.median, "low": self.low, "high": self.high })
    }
}

/// With as many digits as are asked for.
impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = f.precision().unwrap_or(2);
        let Self { median, low, high } = self;
        write!(f, "{median:.digits$} ({low:.digits$} to {high:.digits$})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_one_counts() {
        let spread = Spread::of([5.0, 1.0, 3.0]);
        assert_eq!(format!("{spread:.0}"), "3 (1 to 5)");
        assert_eq!(format!("{:.1}", spread.times(0.5)), "1.5 (0.5 to 2.5)");
        assert_eq!(Spread::of([2.0]), Spread { median: 2.0, low: 2.0, high: 2.0 });
    }
}
