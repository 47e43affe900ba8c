//! The barrier in databases: its contract, and handlers whose effect commits with their verdict, under real concurrency. PostgreSQL's cases
//! are ignored unless `cargo xtask test` runs them, which starts a server.
#![allow(clippy::duplicate_mod, reason = "the cases are the same on each database")]

/// Each case on a database, whose module `stand` names its types alike.
macro_rules! on_database {
    ($attributes:tt $database:ident) => {
        mod $database {
            mod stand;
            #[path = "../cases.rs"]
            mod cases;
            #[path = "../chaos.rs"]
            mod chaos;
            #[path = "../transactions.rs"]
            mod transactions;

            on_database!(@cases $attributes
                cases::one_batch_may_claim_one_row_twice,
                cases::a_new_inbox_does_not_vouch_for_what_was_dispatched_before_it,
                cases::of_many_who_claim_at_once_one_runs,
                cases::a_completion_of_a_row_that_is_gone_is_an_error,
                cases::what_was_stored_is_answered_after_a_restart,
                cases::pruning_moves_the_horizon_past_what_it_drops,
                cases::a_row_being_worked_on_is_never_pruned,
                cases::a_corrupt_row_spoils_no_other,
                cases::rows_must_outlive_commands,
                transactions::effect_and_verdict_are_committed_together,
                transactions::what_is_rolled_back_has_neither,
                transactions::who_has_lost_the_row_cannot_commit,
                transactions::an_undo_finds_all_or_nothing_of_an_execution,
                transactions::an_undo_after_a_crash_has_nothing_to_undo,
                transactions::a_handler_with_a_pool_of_its_own,
                chaos::whatever_the_bus_does_the_ledger_adds_up,
            );
        }
    };
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
}

#[cfg(feature = "sqlite")]
on_database!([] sqlite);
#[cfg(feature = "postgres")]
on_database!([#[ignore = "needs PostgreSQL: cargo xtask test"]] postgres);
