"""`apply`, `diff`, `status`, `rollback` and `history` against a real API server: the tests of the stand-in, once more.

They need no more of a server than what both have. Left to the stand-in are faults that no server can be asked for,
pods that answer through it, and sets of pods that this server would not take.
"""

from __future__ import annotations

import pytest

from tests.kubernetes import test_applying, test_rollback, test_status, test_waiting
from tests.kubernetes.sets import fraud

_ON_BOTH = (
    test_applying.test_a_set_is_applied_in_order_and_kept_as_a_revision,
    test_applying.test_an_apply_that_changes_nothing_makes_no_revision,
    test_applying.test_a_field_that_is_declared_no_more_goes_and_one_that_another_set_stays,
    test_applying.test_a_conflict_names_manager_and_field_and_changes_nothing,
    test_applying.test_a_dry_run_is_checked_by_the_cluster_and_changes_nothing,
    test_applying.test_a_set_may_bring_its_namespace,
    test_applying.test_a_set_may_bring_the_definition_of_a_kind,
    test_applying.test_a_model_that_is_published_over_the_former_one_is_warned_of,
    test_applying.test_what_is_not_waited_for_is_told_so,
    test_applying.test_an_object_for_another_namespace_than_the_one_that_is_said,
    test_applying.test_values_of_secrets_are_neither_shown_nor_kept,
    test_rollback.test_model_view_and_functions_come_back_together,
    test_rollback.test_a_rollback_after_a_rollback_goes_on_to_the_one_before,
    test_rollback.test_what_a_newer_set_brought_is_deleted_where_it_is_asked_for,
    test_rollback.test_there_is_nothing_to_go_back_to,
    test_rollback.test_the_oldest_revisions_are_forgotten_but_never_the_last_ready_one,
    test_rollback.test_two_applies_at_once_are_told_apart,
    test_rollback.test_an_apply_that_never_ended_is_told_of,
    test_rollback.test_a_revision_that_was_tampered_with_is_named,
    test_status.test_what_does_not_get_ready_is_told_with_its_reason,
    test_status.test_views_that_differ_are_told,
    test_status.test_canaries_are_shown_with_their_share,
    test_status.test_there_is_no_such_set,
    test_waiting.test_the_events_of_what_fails_are_shown,
    test_waiting.test_a_failed_release_stays_where_it_is_asked_to,
    test_waiting.test_a_set_that_nobody_sees_to_is_given_up_at_the_deadline,
    test_waiting.test_a_rollout_is_not_taken_for_ready_by_the_status_of_the_former_one,
    test_waiting.test_what_was_deleted_meanwhile_is_missed,
)
globals().update({each.__name__: each for each in _ON_BOTH})


@pytest.mark.parametrize(
    ("how", "reason"), [("crash", "CrashLoopBackOff"), ("blocked", "BlockedByFailedLoad: ModelLoadFailed")]
)
def test_a_predictor_that_never_gets_ready_is_rolled_back(apply, manifests, stand_in, how, reason):
    apply(fraud(1))
    stand_in.behave(test_waiting.broken(2, how))
    # What failed still shows for a moment after the rollback has begun, until the controllers have seen to it.
    said = apply(fraud(2, LEVEL="debug"), "--failing", 5, code=1).output
    assert reason in said
    assert said.endswith("rolled back: it serves model 1, view 11aa11aa11aa, functions f1f1f1f1f1f1 (1, again as 3)\n")
    assert test_rollback.served(stand_in)[0] == "1"
    assert "LEVEL" not in stand_in.get("ConfigMap", "fraud-transformer")["data"]
    assert "revision 3, rollback to revision 1, ready" in manifests("status", "fraud").output
