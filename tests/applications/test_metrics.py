"""Card precision counted by hand, and the metrics' edges."""

import numpy as np
import pytest

from applications.fraud.metrics import card_precision, metrics


def test_a_card_is_as_suspicious_as_its_worst_payment_and_fraudulent_by_any():
    labels = np.array([0, 1, 0, 0])
    scores = np.array([0.9, 0.1, 0.5, 0.4])
    cards = np.array([1, 1, 2, 3])  # card 1: suspicion 0.9, fraudulent by its second payment
    assert card_precision(labels, scores, np.zeros(4, int), cards, top=1) == 1.0
    assert card_precision(labels, scores, np.zeros(4, int), cards, top=2) == 0.5


def test_a_card_once_found_leaves_the_days_after():
    # Day 0: card 1 is found. Day 1: card 1 would lead again, but is blocked: card 2 is checked, in vain.
    labels, scores = np.array([1, 0, 1, 0]), np.array([0.9, 0.1, 0.9, 0.1])
    days, cards = np.array([0, 0, 1, 1]), np.array([1, 2, 1, 2])
    assert card_precision(labels, scores, days, cards, top=1) == 0.5


def test_a_fraudulent_card_that_was_missed_stays():
    labels, scores = np.array([1, 0, 1, 0]), np.array([0.1, 0.9, 0.9, 0.1])
    days, cards = np.array([0, 0, 1, 1]), np.array([1, 2, 1, 2])
    assert card_precision(labels, scores, days, cards, top=1) == 0.5


def test_known_cards_leave_every_day():
    labels, scores, cards = np.array([1, 0, 1]), np.array([0.9, 0.8, 0.1]), np.array([1, 2, 3])
    assert card_precision(labels, scores, np.zeros(3, int), cards, top=1, known=[1]) == 0.0
    assert card_precision(labels, scores, np.zeros(3, int), cards, top=2, known=[1]) == 0.5


def test_a_day_with_fewer_cards_checks_all_and_a_day_without_any_does_not_count():
    labels, scores = np.array([1, 0, 1]), np.array([0.9, 0.8, 0.7])
    assert card_precision(labels, scores, np.array([0, 0, 1]), np.array([1, 2, 1]), top=100) == 0.5


def test_a_perfect_and_a_reversed_ranking():
    labels = np.array([0, 0, 1, 1])
    days, cards = np.zeros(4, int), np.arange(4)
    best = metrics(labels, np.array([0.1, 0.2, 0.8, 0.9]), days, cards)
    worst = metrics(labels, np.array([0.9, 0.8, 0.2, 0.1]), days, cards)
    assert best == {"roc_auc": 1.0, "average_precision": 1.0, "card_precision_100": 0.5}
    assert worst["roc_auc"] == 0.0
    assert worst["average_precision"] == pytest.approx((1 / 3 + 2 / 4) / 2)


@pytest.mark.parametrize("label", [0, 1])
def test_one_kind_of_payment_cannot_be_measured(label):
    with pytest.raises(ValueError, match="of 3 payments are fraudulent, needs both kinds"):
        metrics(np.full(3, label), np.zeros(3), np.zeros(3, int), np.arange(3))
