"""The thresholds that every registered protocol declares, against the table of the design and its conditions."""

import numpy as np
import pytest

from protocols.check import CloisterError
from protocols.registry import Spec
from protocols.secure_sum import secure_sums
from protocols.testing import examples_of
from protocols.tolerance.thresholds import Thresholds, thresholds_of


def declared(c: int, **plugin: object) -> Thresholds:
    return thresholds_of(secure_sums.make(secure_sums.resolve(plugin)).conditions, c)


@pytest.mark.parametrize(
    ("plugin", "c", "expected"),
    [
        ({"name": "plaintext"}, 4, (-1, 0, 0, 0, "undetected")),
        ({"name": "additive"}, 4, (2, 0, 0, 0, "undetected")),
        ({"name": "authenticated"}, 4, (2, 4, 0, 0, "identified")),
        ({"name": "shamir", "mode": "passive", "least_honest": 1}, 7, (3, 0, 3, 3, "undetected")),
        ({"name": "shamir", "mode": "detect", "least_honest": 1}, 7, (3, 3, 3, 0, "abort")),
        ({"name": "shamir", "mode": "correct", "least_honest": 1}, 7, (2, 2, 4, 2, "corrected")),
        ({"name": "shamir", "mode": "vss", "least_honest": 1}, 7, (3, 3, 3, 3, "corrected")),
        ({"name": "shamir", "mode": "vss"}, 7, (3, 3, 2, 2, "corrected")),
    ],
    ids=str,
)
def test_thresholds_are_those_of_the_table(plugin: dict[str, object], c: int, expected: tuple) -> None:
    found = declared(c, **plugin)
    assert (found.private, found.correct, found.live_crashed, found.live_byzantine, found.on_cheating) == expected


@pytest.mark.parametrize("spec", examples_of(secure_sums), ids=str)
def test_one_more_faulty_member_than_declared_breaks_the_promise(spec: Spec) -> None:
    conditions, c = secure_sums.make(spec).conditions, 6
    found = thresholds_of(conditions, c)
    t = conditions.threshold_at(c)
    for most, broken in (
        (found.private, lambda count: conditions.exposed(c, count, 0 * count)),
        (found.correct, lambda count: conditions.scheme.wrong(count, 0 * count, c, t)),
        (found.live_crashed, lambda count: conditions.lost(c, 0 * count, count)),
        (found.live_byzantine, lambda count: conditions.lost(c, count, 0 * count)),
    ):
        assert not broken(np.arange(most + 1)).any()
        assert most == c or broken(np.array([most + 1])).all()


def test_a_cluster_without_members_is_refused() -> None:
    with pytest.raises(CloisterError, match="c = 0"):
        declared(0, name="additive")
