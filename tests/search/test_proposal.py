"""The rule by which a default is proposed, and the confidence of what it is proposed by."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgdb.search.calibration import confidence
from imgdb.search.calibration.proposal import Reason, propose

shares = st.floats(0, 1)
counts = st.floats(0, 1e6)
recalls = st.lists(shares, min_size=33, max_size=33).map(sorted)
wrongs = st.lists(counts, min_size=33, max_size=33).map(sorted)


def rising(step):
    return [min(1, step * distance) for distance in range(33)]


@pytest.mark.parametrize(
    ("recall", "wrong", "distance", "reason", "needed", "allowed"),
    [
        # enough is found before there is any harm
        (rising(0.1), rising(0.001), 10, Reason.recall, 10, 32),
        # harm first
        (rising(0.1), rising(0.02), 5, Reason.wrong, 10, 5),
        # neither, up to where searches are quick
        (rising(0.03), rising(0.001), 12, Reason.search, 32, 32),
        # even equal hashes do harm
        (rising(0.1), [1.0] * 33, 0, Reason.wrong, 10, None),
        # never enough
        ([0.2] * 33, [0.0] * 33, 0, Reason.search, None, 32),
        # 5 finds no more than 4 does, as always with phash
        ([0, 0, 0.2, 0.2, 0.4, 0.4, *[0.9] * 27], [*[0.0] * 6, *[1.0] * 27], 4,
         Reason.wrong, None, 5),
    ],
)  # fmt: skip
def test_rule(recall, wrong, distance, reason, needed, allowed):
    found = propose(recall, wrong, target=0.95, limit=0.1, largest=12)
    assert (found.max_distance, found.reason) == (distance, reason)
    assert (found.needed, found.allowed) == (needed, allowed)


@given(recalls, wrongs, shares, counts, st.integers(0, 32))
def test_limits_are_kept(recall, wrong, target, limit, largest):
    found = propose(recall, wrong, target=target, limit=limit, largest=largest)
    chosen = found.max_distance
    assert chosen <= largest
    assert chosen == 0 or wrong[chosen] <= limit
    assert chosen == 0 or recall[chosen - 1] < recall[chosen], "none smaller finds as much"
    assert chosen == 0 or recall[chosen - 1] < target, "not larger than is needed"
    for larger in range(chosen + 1, largest + 1):
        useless = recall[larger] == recall[chosen] or recall[chosen] >= target
        assert useless or wrong[larger] > limit


@given(recalls, wrongs, st.tuples(shares, shares), st.tuples(counts, counts))
def test_who_allows_more_gets_no_less(recall, wrong, targets, limits):
    def chosen(target, limit):
        return propose(recall, wrong, target=target, limit=limit, largest=12).max_distance

    low, high = sorted(targets)
    strict, mild = sorted(limits)
    assert chosen(low, strict) <= chosen(high, strict) <= chosen(high, mild)


@pytest.mark.parametrize(
    ("value", "trials", "low", "high"),
    # From the published formula, as statsmodels' proportion_confint(method="wilson") has them.
    [(0.5, 100, 0.403832, 0.596168), (0, 10, 0, 0.277533), (0.95, 40, 0.834961, 0.986180)],
)
def test_wilson(value, trials, low, high):
    found = confidence.share(value, trials)
    assert (found.low, found.high) == pytest.approx((low, high), abs=2e-6)


@given(shares, st.integers(0, 10_000))
def test_a_share_lies_in_its_interval(value, trials):
    found = confidence.share(value, trials)
    assert 0 <= found.low <= found.value <= found.high <= 1


def test_more_pictures_say_more():
    widths = [
        confidence.share(0.8, n).high - confidence.share(0.8, n).low for n in (0, 10, 30, 100, 1000)
    ]
    assert all(wide > narrow for wide, narrow in pairwise(widths))


@given(st.lists(counts, min_size=1, max_size=50), st.floats(1, 1000))
def test_a_count_lies_in_its_interval(per_picture, unit):
    found = confidence.mean_rate(per_picture, unit)
    assert 0 <= found.low <= found.value * (1 + 1e-9)
    assert found.value <= found.high
    assert found.high >= 3 * unit / len(per_picture)


def test_none_seen_is_not_none_there():
    assert confidence.mean_rate([0.0] * 30) == confidence.Rate(0, 0, 0.1)
    assert confidence.mean_rate([0.0] * 30, unit=10).high == 1
