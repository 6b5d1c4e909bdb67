//! The properties that every store must have, as tests. Nothing here knows which store it talks to.
//! The crate is a dev-dependency of stores and nothing else.
//!
//! A store's tests implement [`StoreFactory`] and call
//! [`instantiate_conformance!`](crate::instantiate_conformance), which makes one test of each
//! property.

#![forbid(unsafe_code)]

use std::future::Future;
use std::sync::Arc;

use async_trait::async_trait;
use proptest::strategy::Strategy;
use proptest::test_runner::{Config, TestRunner};
use store::Store;
use tokio::runtime::Handle;

pub mod agents;
pub mod api_keys;
pub mod audit;
pub mod changes;
pub mod claims;
pub mod credits;
pub mod deliveries;
pub mod ends;
pub mod events;
pub mod fixtures;
pub mod leases;
pub mod licenses;
pub mod management;
pub mod nodes;
pub mod quota;
pub mod rollups;
pub mod seals;
pub mod sessions;
pub mod software;
pub mod tokens;
pub mod upstreams;
pub mod usage;
pub mod users;
pub mod webhooks;

/// A place for one store. Each test gets a fresh one.
#[async_trait]
pub trait StoreFactory: Send + Sync + Sized + 'static {
    /// Makes a place with nothing in it. The store that was made there is gone when it is dropped.
    async fn fresh() -> Self;

    /// Opens the store at this place. A test drops the store it had before it opens it again.
    async fn open(&self) -> Arc<dyn Store>;
}

/// Runs a test with many values, and with simpler ones when it fails.
async fn for_all<S, F>(cases: u32, strategy: S, test: impl Fn(S::Value) -> F + Send + 'static)
where
    S: Strategy + Send + 'static,
    F: Future<Output = ()>,
{
    let run = move || {
        let config = Config {
            cases,
            failure_persistence: None,
            max_shrink_iters: 200,
            ..Config::default()
        };
        let handle = Handle::current();
        TestRunner::new(config)
            .run(&strategy, |value| {
                handle.block_on(test(value));
                Ok(())
            })
            .unwrap_or_else(|error| panic!("{error}"));
    };
    if let Err(error) = tokio::task::spawn_blocking(run).await {
        std::panic::resume_unwind(error.into_panic());
    }
}

/// Makes a test of each property, for one [`StoreFactory`].
#[macro_export]
macro_rules! instantiate_conformance {
    ($factory:ty) => {
        $crate::instantiate_conformance!($factory;
            licenses {
                a_license_is_found_by_its_id_and_by_each_of_its_keys,
                licenses_are_found_by_many_ids_at_once,
                the_owners_of_many_keys_are_found_at_once,
                a_license_with_everything_comes_back_as_it_was,
                a_key_is_kept_once_and_a_batch_is_kept_wholly_or_not_at_all,
                a_change_is_in_force_when_it_returns,
                a_revoked_license_stays_revoked,
                a_rotation_ends_the_credentials_before_it_and_never_later_than_they_would_have,
                a_sealed_copy_is_kept_with_its_key_and_goes_with_it,
                a_listing_by_pages_misses_nothing_while_licenses_come_in,
                a_listing_shows_what_its_filter_names,
                ten_thousand_licenses_are_kept_in_one_call,
            }
            changes {
                change_numbers_have_no_gaps_under_parallel_writers,
                fingerprints_by_pages_are_those_of_all_credentials,
            }
            management {
                the_default_account_is_always_there_and_names_are_unique,
                a_management_key_is_found_by_its_hash_until_and_after_it_ends,
                a_plan_revision_stays_as_it_was_first_put,
                plans_that_licenses_name_are_told_with_the_revision_that_was_last_in_force,
                an_account_is_switched_off_and_on_and_its_keys_with_it,
                one_of_many_writers_of_a_setting_wins_and_all_learn_what_it_wrote,
            }
            users {
                a_user_is_found_by_app_and_login_and_is_there_once,
                a_user_is_changed_where_it_is_named_and_forgotten_wholly,
                a_login_is_given_once_under_parallel_writers_and_pages_miss_none,
            }
            nodes {
                a_name_is_held_by_one_claim_at_a_time,
            }
            sessions {
                an_access_token_is_a_credential_of_the_license_that_its_session_draws_on,
                access_tokens_outlive_a_rotation_of_the_keys_of_their_license,
                a_refresh_token_is_good_for_one_use_and_a_replay_ends_its_family,
                exactly_one_of_many_parallel_refreshes_wins,
                a_refresh_token_ends_in_time,
                tokens_are_kept_once_and_a_refresh_that_cannot_be_kept_uses_nothing,
                a_session_is_ended_with_all_its_tokens,
                the_sessions_of_a_key_are_listed_by_pages,
                tokens_end_with_their_key,
                the_oldest_sessions_of_a_key_end_when_there_are_too_many,
                the_addresses_of_a_key_hold_for_its_tokens,
                calls_of_a_key_are_counted_in_every_window_or_in_none,
                parallel_calls_of_a_key_never_exceed_its_window,
                what_has_ended_is_swept_and_nothing_else,
            }
            quota {
                a_balance_is_leased_until_nothing_is_left,
                what_is_not_counted_or_not_known_is_leased_nothing,
                a_round_of_leases_is_done_once_however_often_it_is_asked,
                a_round_that_is_asked_in_parallel_with_itself_is_done_once,
                units_that_were_given_back_are_free_again_unless_they_were_spent,
                a_refill_is_claimed_once_by_many_gates,
                a_refill_that_sets_begins_an_epoch_and_voids_older_leases,
                what_is_left_can_be_set_by_hand_and_limits_changed_without_it,
                a_settled_instance_has_spent_what_it_spent_and_settling_again_does_nothing,
                a_finished_instance_is_leased_nothing,
                what_others_hold_and_did_not_spend_is_told_where_nothing_is_left,
                a_window_holds_its_capacity_across_instances_and_begins_anew,
                sixty_four_gates_never_lease_more_than_there_is,
            }
            credits {
                a_balance_is_credited_and_debited_within_its_epoch,
                a_credit_comes_after_the_refills_before_it,
                a_credit_is_a_change_of_a_license_that_counts_units,
                credits_and_debits_beside_leases_give_no_unit_twice,
                an_account_has_one_wallet_that_no_list_shows,
            }
            leases {
                leases_agree_with_a_simple_model,
            }
            rollups {
                rows_of_one_key_in_a_batch_are_added,
                a_batch_is_rolled_up_at_its_position_only,
                stock_is_taken_at_one_moment_while_others_roll_up,
                what_was_spent_moves_on_the_leases_and_never_above_them,
                calls_by_minute_move_on_the_windows_they_lie_in,
                rollups_come_by_pages_and_can_be_replaced,
                sums_beyond_the_range_of_a_column_stay_at_its_end,
                an_instance_is_begun_and_finished_once,
                instances_are_numbered_as_they_register,
            }
            usage {
                usage_agrees_with_a_simple_model,
                usage_of_a_license_is_empty_where_nothing_was_rolled_up,
            }
            seals {
                a_seal_is_intended_and_committed_once_however_often_it_is_tried,
                the_manifest_shows_the_files_that_may_hold_calls_of_a_time,
                the_manifest_and_the_sealed_positions_can_be_replaced,
                files_are_found_by_their_lane_their_age_and_their_names,
                one_gate_at_a_time_has_the_others_stand_still_and_never_for_ever,
                files_that_a_store_keeps_come_back_as_they_were_and_go_with_their_lines,
            }
        );
    };
    ($factory:ty; $($module:ident { $($name:ident,)* })*) => {
        $(mod $module {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    $crate::$module::$name::<$factory>().await;
                }
            )*
        })*
    };
}

/// Makes a test of each property of stores that keep claims, what software needs, policies on agents,
/// request tokens and an audit log.
#[macro_export]
macro_rules! instantiate_domain_conformance {
    ($factory:ty) => {
        $crate::instantiate_conformance!($factory;
            claims {
                of_many_tries_one_wins_and_the_others_see_what_it_gave,
                a_finished_claim_keeps_its_first_answer_until_it_expires,
                claims_are_finished_with_the_answers_that_they_were_prepared_with,
                a_claim_is_given_back_or_taken_over_by_one,
                claims_that_expired_are_swept_and_no_others,
            }
            software {
                parallel_devices_never_take_more_slots_than_there_are,
                a_device_is_bound_once_and_finds_a_slot_when_they_are_freed,
                devices_that_are_not_counted_are_not_bound,
                a_device_frees_the_others_once_in_the_life_of_a_license,
                the_devices_of_an_app_are_freed_by_pages,
                devices_that_are_bound_and_freed_are_told,
                settings_replace_those_that_were_seen_and_no_others,
                the_numbers_of_settings_are_in_the_order_of_commits,
                as_many_devices_as_are_allowed_activate_offline_in_a_whole_life,
                a_device_that_finds_no_slot_activates_nothing,
            }
            agents {
                a_rule_takes_the_place_of_what_was_seen_there,
                a_rule_and_its_line_are_written_together,
                the_numbers_of_rules_are_in_the_order_of_commits,
                the_tokens_of_agents_are_listed_apart,
            }
            tokens {
                a_token_comes_back_as_it_was_and_holds_its_units,
                of_many_claims_of_a_token_one_wins_and_has_its_units,
                a_token_whose_call_reached_nobody_can_be_claimed_again,
                the_call_that_has_a_token_is_told_the_same_each_time_that_it_asks,
                a_token_that_expired_is_lost_and_its_units_are_free_again,
                the_tokens_of_a_license_are_listed_and_one_that_nobody_used_is_ended,
                the_holder_of_a_consumed_token_confirms_or_disputes_its_status,
                an_epoch_that_is_over_takes_the_units_of_its_tokens_with_it,
            }
            audit {
                a_line_comes_back_as_it_was_added,
                a_log_by_pages_misses_nothing_while_lines_come_in,
                a_log_shows_what_its_filter_names,
                a_change_and_its_line_are_written_together,
                a_line_that_is_refused_leaves_its_change_undone,
                a_line_that_is_refused_leaves_a_session_as_it_was,
                a_management_key_is_replaced_with_its_line_unless_it_has_ended,
            }
        );
    };
}

/// Makes a test of each property of stores that keep API keys.
#[macro_export]
macro_rules! instantiate_api_key_conformance {
    ($factory:ty) => {
        $crate::instantiate_conformance!($factory;
            api_keys {
                an_api_key_comes_back_as_it_was_with_its_license,
                an_api_key_is_kept_with_its_license_or_not_at_all,
                a_change_of_an_api_key_is_made_wholly_and_gets_a_number,
                a_line_that_is_refused_leaves_an_api_key_as_it_was,
                a_revoked_api_key_is_neither_listed_nor_changed,
                a_list_of_api_keys_is_sorted_cut_and_counted_as_asked,
                a_list_of_api_keys_by_cursor_skips_none_and_repeats_none,
                the_latest_request_of_an_api_key_is_noted,
                the_requests_of_ten_thousand_api_keys_are_noted_within_a_second,
                api_keys_that_have_ended_are_found_by_their_owner,
            }
        );
    };
}

/// Makes a test of each property of stores that keep webhooks.
#[macro_export]
macro_rules! instantiate_webhook_conformance {
    ($factory:ty) => {
        $crate::instantiate_conformance!($factory;
            webhooks {
                a_webhook_comes_back_as_it_was_and_is_changed_where_it_is_named,
                a_webhook_that_is_not_as_it_was_seen_stays_as_it_is,
                no_more_webhooks_than_allowed_are_kept_under_parallel_writers,
                a_secret_is_replaced_with_an_overlap,
                an_event_becomes_one_delivery_for_each_webhook_that_gets_it,
                a_test_stands_in_the_log_alone,
                a_lease_by_name_is_held_by_one_gate_until_it_ends,
            }
            deliveries {
                what_is_told_of_one_license_comes_in_order,
                a_webhook_that_is_disabled_or_paused_keeps_what_it_gets_until_it_is_active,
                no_more_is_due_than_is_asked_for_and_nothing_that_is_under_way,
                what_was_never_tried_is_due_beside_what_fails,
                the_log_of_deliveries_shows_what_its_filter_names,
                what_is_delivered_again_comes_before_what_is_younger,
                nothing_is_delivered_again_without_its_line,
                what_is_old_or_of_a_webhook_that_is_gone_is_forgotten,
            }
            ends {
                the_end_of_a_license_is_told_ahead_and_once,
                the_end_of_a_license_is_told_although_a_clock_went_back,
                an_end_is_told_although_its_license_is_revoked_at_once,
                the_key_of_a_license_that_is_gone_is_kept_for_its_events,
                a_device_is_told_by_its_name_if_the_license_is_bound_to_it,
            }
            events {
                each_change_of_a_license_is_told_in_order,
                every_way_of_changing_a_license_is_told_and_nothing_that_is_undone,
                an_import_is_told_wholly,
                the_first_use_of_a_license_is_told_once,
                each_threshold_of_a_quota_is_told_once_in_an_epoch,
                a_grant_within_an_epoch_has_the_thresholds_of_its_quota_told_again,
            }
            upstreams {
                an_upstream_is_told_once_for_a_fleet,
                what_is_told_of_one_app_comes_in_order_and_holds_back_no_other,
            }
        );
    };
}
