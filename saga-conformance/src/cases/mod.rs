//! The cases, each a function with its promise.

pub mod basics;
pub mod dead_letters;
pub mod faults;
pub mod flow;
pub mod groups;
pub mod life;
pub mod order;
pub mod settling;

use futures::FutureExt;
use futures::future::BoxFuture;

use crate::check::Check;
use crate::stand::Stand;

/// A case of the suite.
pub(crate) struct Case {
    pub(crate) number: u32,
    pub(crate) name: &'static str,
    pub(crate) run: for<'a> fn(&'a Stand) -> BoxFuture<'a, Check>,
    /// Whether it needs the server, or the machine, for itself.
    pub(crate) is_alone: bool,
}

macro_rules! cases {
    ($($number:literal $room:ident::$name:ident $($alone:ident)?,)*) => {
        /// All cases, by number.
        pub(crate) const ALL: &[Case] = &[$(Case {
            number: $number,
            name: stringify!($name),
            run: |stand| $room::$name(stand).boxed(),
            is_alone: cases!(@ $($alone)?),
        },)*];
    };
    (@ alone) => { true };
    (@) => { false };
}

cases! {
    1 basics::round_trip,
    2 basics::odd_payloads,
    3 basics::largest_message,
    4 basics::topics_apart,
    5 basics::many_topics,
    6 basics::send_only_client,
    7 basics::missing_topic,
    8 basics::declared_twice,
    9 groups::competing_consumers,
    10 groups::every_group_gets_all,
    11 groups::group_before_consumer,
    12 groups::late_group,
    13 groups::members_come_and_go,
    14 settling::acknowledged_once,
    15 settling::dropped,
    16 settling::retried,
    17 settling::retried_later,
    18 settling::panicking_handler,
    19 settling::settled_twice_does_not_compile,
    20 faults::stale_after_reconnect alone,
    21 settling::acknowledged_out_of_order,
    22 settling::poison,
    23 settling::attempt_survives,
    24 settling::edits_do_not_leak,
    25 order::one_consumer,
    26 order::several_consumers,
    27 order::rebalance,
    28 order::retry_in_place,
    29 order::failed_publish alone,
    30 order::partitions_by_key,
    31 dead_letters::evidence,
    32 dead_letters::unavailable,
    33 dead_letters::redriven,
    34 dead_letters::crash_in_between alone,
    35 flow::in_flight_limit,
    36 flow::slow_handler,
    37 flow::publisher_held_back alone,
    38 flow::limit_changed_live,
    39 flow::idle_then_first,
    40 life::shutdown_drains,
    41 life::past_the_deadline,
    42 life::close_flushes,
    43 life::closed_and_opened_again,
    44 faults::broker_restart alone,
    45 faults::cut_and_half_open alone,
    46 faults::killed_consumer alone,
    47 faults::absent_broker,
    48 faults::deleted_topic,
    49 faults::health_and_lag alone,
    50 flow::throughput alone,
    51 basics::sent_again,
    52 order::keyless_spread,
    53 basics::odd_keys,
    54 basics::atomic_batch,
    55 settling::retry_holds_up_no_other,
}
