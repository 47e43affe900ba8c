//! What has become of the orders, counted.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use crate::books::Sales;
use crate::latency::Latencies;
use crate::order::Order;

/// How many different reasons are kept apart.
const REASONS_MAX: usize = 10;
/// How many faults are kept in words; more are only counted.
const FAULTS_SHOWN_MAX: usize = 20;

/// Counts, in an amount of memory that does not grow with the orders.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) completed: u64,
    pub(crate) rolled_back: u64,
    pub(crate) parked: u64,
    /// Orders that had been placed before, the very same.
    pub(crate) repeated: u64,
    /// Lines that are no order, or another order under a known id.
    pub(crate) bad_lines: u64,
    pub(crate) sales: Sales,
    pub(crate) latencies: Latencies,
    /// How long it took until all orders had ended, once they have.
    pub(crate) all_ended: Option<Duration>,
    reasons: BTreeMap<String, u64>,
    faults: Vec<String>,
    faults_not_shown: u64,
}

impl Tally {
    pub(crate) fn complete(&mut self, order: &Order) {
        self.completed += 1;
        self.sales.add(order);
    }

    pub(crate) fn roll_back(&mut self, reason: &str) {
        self.rolled_back += 1;
        let known = self.reasons.len() < REASONS_MAX || self.reasons.contains_key(reason);
        let reason = if known { reason } else { "other reasons" };
        *self.reasons.entry(reason.to_owned()).or_default() += 1;
    }

    /// Something is not as it must be.
    pub(crate) fn fault(&mut self, what: String) {
        if self.faults.len() < FAULTS_SHOWN_MAX {
            self.faults.push(what);
        } else {
            self.faults_not_shown += 1;
        }
    }

    /// How many orders have ended or are parked.
    pub(crate) const fn orders(&self) -> u64 {
        self.completed + self.rolled_back + self.parked
    }

    /// What is not as it must be, in words.
    pub(crate) fn faults(&self) -> Vec<String> {
        let more = (self.faults_not_shown > 0).then(|| format!("and {} more", self.faults_not_shown));
        self.faults.iter().cloned().chain(more).collect()
    }

    /// How far things are, in one line.
    pub(crate) fn progress(&self, elapsed: Duration) -> String {
        let (done, rate) = (grouped(self.orders()), grouped(self.rate(elapsed)));
        let (completed, rolled_back) = (grouped(self.completed), grouped(self.rolled_back));
        let mut text =
            format!("{done} orders: {completed} completed, {rolled_back} rolled back; {rate} sagas/s");
        for (count, what) in [(self.parked, "parked"), (self.bad_lines, "bad lines")] {
            if count > 0 {
                let _ = write!(text, ", {} {what}", grouped(count));
            }
        }
        text
    }

    /// The end of a run with many orders.
    pub(crate) fn summary(&self, dead_letters: usize) -> Vec<String> {
        let count = |count: u64, what: &str| format!("{:>10}  {what}", grouped(count));
        let mut lines = vec![count(self.completed, "completed"), count(self.rolled_back, "rolled back")];
        lines.extend(self.reasons.iter().map(|(reason, n)| count(*n, &format!("  because {reason}"))));
        lines.push(count(self.parked, "parked"));
        lines.push(count(self.repeated, "repeated: the same order again is one purchase"));
        let letters = format!("bad lines; dead letters on order-placed: {}", grouped(dead_letters as u64));
        lines.push(count(self.bad_lines, &letters));
        let Some(elapsed) = self.all_ended else { return lines };
        let ms = |share| self.latencies.percentile(share).as_secs_f64() * 1e3;
        lines.push(format!(
            "{} orders in {:.2} s: {} sagas/s, p50 {:.1} ms, p99 {:.1} ms",
            grouped(self.orders()),
            elapsed.as_secs_f64(),
            grouped(self.rate(elapsed)),
            ms(0.5),
            ms(0.99)
        ));
        lines
    }

    fn rate(&self, elapsed: Duration) -> u64 {
        let micros = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
        self.orders().saturating_mul(1_000_000) / micros.max(1)
    }
}

/// `50,000`
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_thousands() {
        assert_eq!(
            [0, 999, 1_000, 50_000, 1_234_567].map(grouped),
            ["0", "999", "1,000", "50,000", "1,234,567"]
        );
    }

    #[test]
    fn reasons_and_faults_are_limited() {
        let mut tally = Tally::default();
        for n in 0..100 {
            tally.roll_back(&format!("reason {n}"));
            tally.fault(format!("fault {n}"));
        }
        assert_eq!(tally.reasons.len(), REASONS_MAX + 1);
        assert_eq!(tally.faults().len(), FAULTS_SHOWN_MAX + 1);
        assert_eq!(tally.faults().last().unwrap(), "and 80 more");
    }
}
