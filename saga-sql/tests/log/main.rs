//! What every saga log promises, held against the memory log, SQLite and PostgreSQL alike. PostgreSQL's cases are ignored unless
//! `cargo xtask test` runs them, which starts a server.

mod append;
mod list;
mod operators;
mod stand;
mod tombstones;
mod wake;

/// Each case on each log.
macro_rules! on_every_log {
    ($($module:ident::$case:ident,)*) => {
        mod memory {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $case() {
                crate::$module::$case(crate::stand::Stand::memory()).await;
            })*
        }

        #[cfg(feature = "sqlite")]
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $case() {
                crate::$module::$case(crate::stand::Stand::sqlite(stringify!($case)).await).await;
            })*
        }

        #[cfg(feature = "postgres")]
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread")]
            #[ignore = "needs PostgreSQL: cargo xtask test"]
            async fn $case() {
                crate::$module::$case(crate::stand::Stand::postgres(stringify!($case)).await).await;
            })*
        }
    };
}

on_every_log! {
    append::only_the_version_expected_is_appended_to,
    append::a_batch_is_taken_in_order_and_a_conflict_spoils_nothing_else,
    append::an_append_without_entries_verifies_and_files,
    append::another_run_or_definition_is_not_appended_to,
    append::the_same_entries_come_back,
    append::large_batches_are_taken_whole,
    append::of_many_who_append_at_once_one_is_first,
    append::of_many_who_start_at_once_one_is_first,
    append::batches_that_overlap_never_stand_in_each_others_way,
    tombstones::a_settled_saga_leaves_a_tombstone_for_the_window,
    tombstones::a_saga_can_be_settled_by_its_first_append,
    tombstones::an_id_can_be_used_again_after_the_window,
    tombstones::tombstones_are_pruned,
    tombstones::of_a_start_and_an_end_at_once_the_end_holds,
    list::sagas_are_listed_in_the_order_of_their_keys,
    list::the_census_counts_what_is_kept,
    operators::outlines_of_definitions_are_kept,
    operators::what_operators_did_outlives_the_record,
    wake::a_lease_is_renewed_until_it_runs_out,
    wake::a_new_lease_ends_the_owners_older_one,
    wake::the_longest_due_wake_first_and_nobody_early,
    wake::a_saga_is_put_off_brought_forward_and_forgotten,
    wake::sagas_of_nobody_and_of_ended_leases_are_taken_over,
    wake::sagas_of_other_definitions_are_left_alone,
    wake::the_queue_agrees_with_a_plain_list,
    wake::a_dead_owners_sagas_are_taken_over_once,
    wake::a_paused_owner_does_no_harm,
}
