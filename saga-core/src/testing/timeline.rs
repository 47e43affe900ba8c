use std::fmt;
use std::time::Duration;

/// What happened to a saga, in order: what its coordinator recorded, what its participants' handlers did, what the injected faults
/// struck, who crashed.
///
/// It can be compared with its lines: `assert_eq!(run.timeline, ["started", …])`. Shown, each line has its virtual time since the start.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Timeline {
    /// The moments, in order.
    pub moments: Vec<Moment>,
}

/// One line of a [`Timeline`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moment {
    /// When, since the saga's start, in virtual time.
    pub at: Duration,
    /// What: for example `payment dispatched`, `payment execute: done`, `payment succeeded`.
    pub what: String,
}

impl Timeline {
    /// The lines, without their times.
    pub fn lines(&self) -> Vec<&str> {
        self.moments.iter().map(|moment| &*moment.what).collect()
    }

    /// When this happened first, since the saga's start.
    pub fn when(&self, what: &str) -> Option<Duration> {
        self.moments.iter().find(|moment| moment.what == what).map(|moment| moment.at)
    }

    /// How often this happened.
    pub fn count(&self, what: &str) -> usize {
        self.moments.iter().filter(|moment| moment.what == what).count()
    }

    /// The last `lines` of it, for a message that must not be too long.
    pub(super) fn tail(&self, lines: usize) -> String {
        let left_out = self.moments.len().saturating_sub(lines);
        let tail = Self { moments: self.moments[left_out..].to_vec() };
        match left_out {
            0 => tail.to_string(),
            _ => format!("({left_out} earlier lines left out)\n{tail}"),
        }
    }
}

/// One line a moment, each with its time.
impl fmt::Display for Timeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Moment { at, what } in &self.moments {
            writeln!(f, "{:>10} ms  {what}", at.as_millis())?;
        }
        Ok(())
    }
}

/// The lines as a list that can be pasted into a test.
impl fmt::Debug for Timeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.lines()).finish()
    }
}

impl<const N: usize> PartialEq<[&str; N]> for Timeline {
    fn eq(&self, lines: &[&str; N]) -> bool {
        self.lines() == lines
    }
}

impl PartialEq<[&str]> for Timeline {
    fn eq(&self, lines: &[&str]) -> bool {
        self.lines() == lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_compared_and_shown_by_its_lines() {
        let moment = |ms, what: &str| Moment { at: Duration::from_millis(ms), what: what.to_owned() };
        let timeline = Timeline { moments: vec![moment(0, "started"), moment(3_600_000, "completed")] };
        assert_eq!(timeline, ["started", "completed"]);
        assert_ne!(timeline, ["started"]);
        assert_eq!(timeline.to_string(), "         0 ms  started\n   3600000 ms  completed\n");
        assert_eq!(timeline.tail(1), "(1 earlier lines left out)\n   3600000 ms  completed\n");
        assert_eq!(timeline.when("completed"), Some(Duration::from_secs(3_600)));
        assert_eq!(timeline.count("started"), 1);
    }
}
