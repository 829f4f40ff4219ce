"""Per-cluster conditions against table 2.1 written out by hand, and threshold expressions."""

import numpy as np
import pytest

from protocols.check import CloisterError
from protocols.tolerance.conditions import conditions_of
from protocols.tolerance.expressions import parse_threshold
from protocols.tolerance.schemes import SCHEMES

# The table in the design notes, line by line: what is tolerated by c members with threshold t.
PRIVATE = {
    ("plaintext", "passive"): lambda a, c, t: a == c,
    ("additive", "passive"): lambda a, c, t: a <= c - 2 or a == c,
    ("authenticated", "abort"): lambda a, c, t: a <= c - 2 or a == c,
    **{("shamir", mode): lambda a, c, t: a <= min(t, c - 2) for mode in ("passive", "detect", "correct", "vss")},
    ("masked", "semi_honest"): lambda a, c, t: a <= min(t - 1, c - 2),
    ("masked", "malicious_server"): lambda a, c, t: a <= min(2 * t - c - 1, c - 2),
}
CORRECT = {
    ("plaintext", "passive"): lambda b, k, c, t: b == 0,
    ("additive", "passive"): lambda b, k, c, t: b == 0,
    ("authenticated", "abort"): lambda b, k, c, t: True,
    ("shamir", "passive"): lambda b, k, c, t: b == 0,
    ("shamir", "detect"): lambda b, k, c, t: b == 0 or b <= c - k - t - 1,
    ("shamir", "correct"): lambda b, k, c, t: b == 0 or 2 * b + k <= c - t - 1,
    ("shamir", "vss"): lambda b, k, c, t: b == 0 or b + k <= c - t - 1,
    ("masked", "semi_honest"): lambda b, k, c, t: b == 0,
    ("masked", "malicious_server"): lambda b, k, c, t: b == 0,
}
LIVE = {
    ("plaintext", "passive"): lambda b, k, c, t: b + k == 0,
    ("additive", "passive"): lambda b, k, c, t: b + k == 0,
    ("authenticated", "abort"): lambda b, k, c, t: b + k == 0,
    ("shamir", "passive"): lambda b, k, c, t: k + b <= c - t - 1,
    ("shamir", "detect"): lambda b, k, c, t: b == 0 and k <= c - t - 1,
    ("shamir", "correct"): lambda b, k, c, t: 2 * b + k <= c - t - 1,
    ("shamir", "vss"): lambda b, k, c, t: b + k <= c - t - 1,
    # A Byzantine member that deals shares nobody can open makes the others stop, whatever k is.
    ("masked", "semi_honest"): lambda b, k, c, t: b == 0 and k <= c - t,
    ("masked", "malicious_server"): lambda b, k, c, t: b == 0 and k <= c - t,
}
# Protocols with seats have conditions by the worst seats, which their own tests compare with runs.
SEATED = {"committee", "hierarchical", "masked_graph"}
ALL = [(protocol, mode) for protocol, modes in SCHEMES.items() for mode in modes if protocol not in SEATED]


def test_the_table_has_every_protocol_and_mode() -> None:
    assert set(ALL) == set(PRIVATE) == set(CORRECT) == set(LIVE)


@pytest.mark.parametrize(("protocol", "mode"), ALL)
def test_each_predicate_holds_exactly_at_the_bad_occupancies(protocol: str, mode: str) -> None:
    has_threshold = SCHEMES[protocol][mode].threshold is not None
    for c in range(1, 9):
        for t in range(SCHEMES[protocol][mode].smallest_threshold, c) if has_threshold else [0]:
            asked = conditions_of(protocol, mode=mode, threshold=str(t) if has_threshold else None, checked_inputs=True)
            for b in range(c + 1):
                assert asked.exposed(c, np.array(b), np.array(0)) != PRIVATE[protocol, mode](b, c, t), (c, t, b)
                for k in range(c + 1 - b):
                    assert asked.tainted(c, np.array(b), np.array(k)) != CORRECT[protocol, mode](b, k, c, t)
                    assert asked.lost(c, np.array(b), np.array(k)) != LIVE[protocol, mode](b, k, c, t)


def test_a_hidden_sum_of_additive_shares_exposes_nobody_and_shamir_keeps_its_threshold() -> None:
    members = np.arange(6)
    assert not conditions_of("additive", revealed=False).exposed(5, members, np.array(0)).any()
    hidden = conditions_of("shamir", threshold="c-1", revealed=False).exposed(5, members, np.array(0))
    assert hidden.tolist() == [False] * 5 + [True]
    assert (
        conditions_of("shamir", threshold="c-1").exposed(5, members, np.array(0)).tolist() == [False] * 4 + [True] * 2
    )


def test_a_byzantine_input_taints_unless_inputs_are_checked() -> None:
    one, none = np.array(1), np.array(0)
    assert conditions_of("authenticated").tainted(5, one, none)
    assert not conditions_of("authenticated", checked_inputs=True).tainted(5, one, none)
    assert not conditions_of("authenticated").tainted(5, none, none)


@pytest.mark.parametrize(
    ("expression", "of_ten", "of_eleven"),
    [("c/2", 4, 5), ("c/3", 3, 3), ("2c/3", 6, 7), ("2*c/3", 6, 7), ("c-1", 9, 10), ("5", 5, 5), ("c/2+1", 5, 6)],
)
def test_a_threshold_is_the_largest_integer_below_its_fraction(expression: str, of_ten: int, of_eleven: int) -> None:
    threshold = parse_threshold(expression)
    assert (threshold(10), threshold(11)) == (of_ten, of_eleven)


@pytest.mark.parametrize(
    "expression", ["", "c^2", "c/0", "__import__('os')", "c//2", "-1", "c/2/2", "d/3", "c 2", "0x5"]
)
def test_an_unknown_threshold_is_one_clear_line(expression: str) -> None:
    with pytest.raises(CloisterError, match="allowed: a number, or c/2") as raised:
        parse_threshold(expression)
    assert repr(expression) in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"protocol": "shamri"}, "did you mean 'shamir'"),
        ({"protocol": "shamir", "mode": "vsss"}, "did you mean 'vss'"),
        ({"protocol": "additive", "threshold": "c/2"}, "needs all its members"),
    ],
)
def test_unknown_protocols_modes_and_useless_thresholds_are_refused(words: dict[str, str], message: str) -> None:
    with pytest.raises(CloisterError, match=message):
        conditions_of(**words)


def test_a_threshold_that_a_cluster_cannot_have_is_refused() -> None:
    with pytest.raises(CloisterError, match="gives 9 for clusters of 5; allowed: 0 to 4"):
        conditions_of("shamir", threshold="9").threshold_at(5)
