//! Moments and durations for people.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use saga::Timestamp;

/// This machine's time; only for saying how long ago something was.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// `2026-11-27T08:30:00.000Z (5 min ago)`, or `(in 5 min)`.
pub(crate) fn with_distance(at: Timestamp, now: Timestamp) -> String {
    if at == Timestamp::MAX {
        return "never".to_owned();
    }
    let distance = if at > now { format!("in {}", short(at.since(now))) } else { ago(at, now) };
    format!("{at} ({distance})")
}

/// `5 min ago`
pub(crate) fn ago(at: Timestamp, now: Timestamp) -> String {
    format!("{} ago", short(now.since(at)))
}

/// In the largest unit that fits.
fn short(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0 => format!("{} ms", time.as_millis()),
        1..=119 => format!("{seconds} s"),
        120..=7_199 => format!("{} min", seconds / 60),
        7_200..=172_799 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_short() {
        let at = Timestamp::from_millis(10_000_000_000);
        for (later_s, expected) in
            [(0, "0 ms ago"), (90, "90 s ago"), (180, "3 min ago"), (200_000, "2 days ago")]
        {
            assert_eq!(ago(at, at.after(Duration::from_secs(later_s))), expected);
        }
        let before = Timestamp::from_millis(9_999_995_000);
        assert_eq!(with_distance(at, before), "1970-04-26T17:46:40.000Z (in 5 s)");
        assert_eq!(with_distance(Timestamp::MAX, at), "never");
    }
}
