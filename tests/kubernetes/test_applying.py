"""`apply` and `diff`: what they change, what they never change, and what they say."""

from __future__ import annotations

from tests.kubernetes.sets import fraud


def test_a_set_is_applied_in_order_and_kept_as_a_revision(apply, stand_in):
    said = apply(fraud()).output
    print(said)
    assert stand_in.names("InferenceService") == ["fraud"]
