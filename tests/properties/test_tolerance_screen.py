"""The bounds that a search starts from enclose the exact probabilities; what it finds is what trying all finds."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.aggregators import majority_breakdown
from protocols.tolerance import screen as screening
from protocols.tolerance.analysis import Faults, correct_failure, private_failure
from protocols.tolerance.conditions import conditions_of
from protocols.tolerance.design import best_size, distinct_sizes, window
from protocols.tolerance.parts import clusters_of, size_groups
from protocols.tolerance.schemes import SCHEMES
from protocols.tolerance.screen import Screen, screen

MODES = [(protocol, mode) for protocol, modes in SCHEMES.items() for mode in modes]


def enclosed(found: Screen, faults: Faults, conditions, breakdown) -> bool:
    for i, size in enumerate(found.sizes):
        groups = size_groups(faults.n, size)
        private = private_failure(faults, groups, conditions).value
        correct = correct_failure(faults, groups, conditions, breakdown(clusters_of(groups))).value
        for side, value in ((found.private, private), (found.correct, correct)):
            # Engines promise 1e-9.
            if not side.lower[i] * (1 - 2e-9) <= value <= side.upper[i] * (1 + 2e-9) + 1e-300:
                return False
    return True


@given(st.data())
def test_the_exact_probabilities_lie_within_the_ranges(data: st.DataObject) -> None:
    n = data.draw(st.integers(1, 60))
    byzantine = data.draw(st.integers(0, n))
    curious = data.draw(st.integers(0, n - byzantine))
    crashed = data.draw(st.sampled_from((0, 0, min(1, n - byzantine - curious))))
    protocol, mode = data.draw(st.sampled_from(MODES))
    conditions = conditions_of(
        protocol, mode=mode, checked_inputs=data.draw(st.booleans()), revealed=data.draw(st.booleans())
    )
    breakdown = data.draw(st.sampled_from((majority_breakdown, lambda m: 0, lambda m: -1)))
    faults = Faults(n=n, byzantine=byzantine, crashed=crashed, curious=curious)
    found = screen(faults, conditions, breakdown, distinct_sizes(n))
    assert enclosed(found, faults, conditions, breakdown)


def test_leaving_out_the_pair_terms_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted bug: the union bound without Bonferroni's second term is no lower bound."""
    faults, conditions = Faults(n=60, byzantine=20), conditions_of("additive")
    assert enclosed(screen(faults, conditions, majority_breakdown, [2, 3]), faults, conditions, majority_breakdown)
    monkeypatch.setattr(screening, "_pairs", lambda runs, n, faulty: np.zeros(len(runs.size)))
    assert not enclosed(screen(faults, conditions, majority_breakdown, [2, 3]), faults, conditions, majority_breakdown)


def test_the_ranges_are_narrow_where_a_search_decides() -> None:
    found = screen(Faults(n=10**5, byzantine=10**3), conditions_of("additive"), majority_breakdown, range(4, 20))
    rare = found.private.upper < 1e-2
    assert rare.sum() > 10
    assert (found.private.upper[rare] < 1.01 * found.private.lower[rare]).all()


@pytest.mark.parametrize(("protocol", "byzantine"), [("additive", 3), ("shamir", 2), ("masked", 2)])
def test_the_window_is_that_of_trying_every_size(protocol: str, byzantine: int) -> None:
    faults, conditions, target = Faults(n=90, byzantine=byzantine), conditions_of(protocol), 1e-3
    private, correct = set(), set()
    for size in distinct_sizes(90):
        groups = size_groups(90, size)
        if protocol == "masked" and size == 1:
            continue
        if private_failure(faults, groups, conditions).value <= target:
            private.add(size)
        if correct_failure(faults, groups, conditions, majority_breakdown(clusters_of(groups))).value <= target:
            correct.add(size)
    found = window(faults, conditions, majority_breakdown, target)
    assert (found.private, found.correct) == (min(private), max(correct))
    assert found.sizes == tuple(sorted(private & correct))


def test_the_best_size_at_a_million_is_found_from_the_bounds() -> None:
    faults, conditions = Faults(n=10**6, byzantine=10**4), conditions_of("additive")
    found = best_size(faults, conditions, majority_breakdown, target=1e-6)
    assert found.size == 7
    assert private_failure(faults, size_groups(10**6, 6), conditions).value > 1e-6 >= found.fail
