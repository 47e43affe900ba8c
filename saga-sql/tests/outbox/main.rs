//! The outbox and the keyed leases in databases, under real concurrency. PostgreSQL's cases are ignored unless `cargo xtask test` runs them,
//! which starts a server.
#![allow(clippy::duplicate_mod, reason = "the cases are the same on each database")]

mod bus;

/// Each case on a database, whose module `stand` names its types alike.
macro_rules! on_database {
    (@cases $attributes:tt $($module:ident::$case:ident,)*) => {
        $(on_database!(@case $attributes $module $case);)*
    };
    (@case [$($attribute:tt)*] $module:ident $case:ident) => {
        #[tokio::test(flavor = "multi_thread")]
        $($attribute)*
        async fn $case() {
            $module::$case(stand::Stand::new(stringify!($case)).await).await;
        }
    };
    ($attributes:tt $database:ident $($more:tt)*) => {
        mod $database {
            mod stand;
            #[path = "../cases.rs"]
            mod cases;
            #[path = "../chaos.rs"]
            mod chaos;
            #[path = "../leases.rs"]
            mod leases;
            #[path = "../order.rs"]
            mod order;
            #[path = "../troubles.rs"]
            mod troubles;

            on_database!(@cases $attributes
                cases::what_is_committed_is_published_as_it_was,
                cases::what_is_rolled_back_is_not,
                cases::a_relay_of_this_process_looks_at_once,
                cases::a_relay_on_other_connections_finds_it,
                cases::a_saga_starts_with_the_transaction,
                cases::a_saga_without_a_topic_for_its_starts_is_refused,
                cases::what_is_under_way_at_shutdown_is_finished,
                order::writers_of_one_key_wait_for_each_other,
                order::two_relays_keep_the_order_of_every_key,
                order::no_key_is_left_behind_by_others,
                order::what_failed_comes_before_what_follows_it,
                troubles::after_a_crash_the_same_id_is_published_again,
                troubles::a_relay_that_lost_its_claim_settles_nothing,
                troubles::a_refused_message_holds_only_its_key,
                troubles::a_topic_that_is_not_there_is_waited_for,
                troubles::a_row_that_cannot_be_read_holds_only_its_key,
                troubles::a_bus_that_hangs_is_given_up,
                chaos::whatever_dies_nothing_is_lost_or_invented,
                leases::two_never_hold_one_key,
                leases::one_that_ran_out_is_taken_over,
                leases::the_number_grows_over_everything,
                leases::who_has_lost_it_can_do_nothing,
                leases::it_can_be_renewed_and_given_back,
                leases::nobody_takes_what_a_transaction_has_checked,
                leases::one_that_ran_out_is_shown_for_a_day,
                leases::people_are_shown_the_key_and_who_holds_it,
                $($more)*
            );
        }
    };
}

#[cfg(feature = "sqlite")]
on_database!([] sqlite);
#[cfg(feature = "postgres")]
on_database!([#[ignore = "needs PostgreSQL: cargo xtask test"]] postgres
    stand::a_row_committed_late_is_not_skipped,
    stand::a_relay_elsewhere_is_notified,
);
