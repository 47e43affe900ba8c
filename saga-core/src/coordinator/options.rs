use std::sync::Arc;
use std::time::Duration;

use crate::machine::Resend;

/// The coordinator's named limits and intervals.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CoordinatorOptions {
    /// The name under which it holds its lease; unique among the coordinators of one log. A coordinator that comes back under its old name
    /// takes its sagas up at once; under another name, when the old lease has run out. Default: a random one.
    pub name: Arc<str>,
    /// How many sagas may be unfinished before no more are admitted, neither from trigger topics nor by call: those that it has started, and those
    /// of other coordinators that came to it by a reply. Nothing else waits for this limit. Default 10,000.
    pub sagas_in_flight_max: usize,
    /// How many sagas are kept in memory; others are read from the log when something happens to them. Default 100,000.
    pub sagas_cached_max: usize,
    /// How many messages are read from a topic at once. Default 512.
    pub read_batch_max: usize,
    /// How many messages of a topic may be read and not settled. Default 16,384.
    pub unsettled_max: usize,
    /// How many sagas are appended to in one group commit. Default 4,096.
    pub append_batch_max: usize,
    /// How many callbacks may be under way at once. Default 64.
    pub callbacks_in_flight_max: usize,
    /// After this long without an answer a callback's attempt has failed. Default 30 s.
    pub callback_time_max: Duration,
    /// How long its lease holds without being renewed; it is renewed at a third of that. Default 10 s.
    pub lease_ttl: Duration,
    /// How often it asks the log for sagas that are due. Default 100 ms.
    pub wake_interval: Duration,
    /// How many due sagas it takes at once. Default 1,024.
    pub wake_batch_max: usize,
    /// When unanswered commands are sent again.
    pub resend: Resend,
    /// How long after a restart or a take-over no deadline fires, so that replies can come in first. Default 2 s.
    pub deadline_slack: Duration,
    /// After this long without an answer a step is reported as stalled. Default 60 s.
    pub stalled_after: Duration,
    /// How often, at the least, someone who awaits an outcome looks into the log, besides being told: first after a fortieth of
    /// this, then after as long as was waited so far; of a saga that is not with this coordinator, after a hundredth and a quarter. Unless another
    /// coordinator has gone on with sagas of this one within the last minute, all who wait together look a hundred times a second at most. Default
    /// 2 s.
    pub outcome_poll_interval: Duration,
    /// How often sagas of definitions that are not registered here are reported. Default 60 s.
    pub report_interval: Duration,
    /// How long a shutdown waits for what is under way. Default 10 s.
    pub drain_max: Duration,
    /// Makes run ids from this number and not from the operating system's random ones, for tests and simulations that must repeat; the order in
    /// which it goes through its sagas then repeats, too. Every coordinator that ever writes to one log needs another number, after a
    /// restart too. Default: none.
    pub run_id_seed: Option<u64>,
}

impl Default for CoordinatorOptions {
    fn default() -> Self {
        Self {
            name: format!("coordinator-{}", crate::record::RunId::random()).into(),
            sagas_in_flight_max: 10_000,
            sagas_cached_max: 100_000,
            read_batch_max: 512,
            unsettled_max: 16_384,
            append_batch_max: 4_096,
            callbacks_in_flight_max: 64,
            callback_time_max: Duration::from_secs(30),
            lease_ttl: Duration::from_secs(10),
            wake_interval: Duration::from_millis(100),
            wake_batch_max: 1_024,
            resend: Resend::DEFAULT,
            deadline_slack: Duration::from_secs(2),
            stalled_after: Duration::from_secs(60),
            outcome_poll_interval: Duration::from_secs(2),
            report_interval: Duration::from_secs(60),
            drain_max: Duration::from_secs(10),
            run_id_seed: None,
        }
    }
}
