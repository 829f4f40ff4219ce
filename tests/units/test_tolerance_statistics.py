"""What `bench tolerance` says of robust statistics and of hidden sums: equal to counting placements, and in words."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations, pairwise

import pytest

from bench import tolerance
from bench.tolerance.hidden import hidden_named
from bench.tolerance.pricing import Price
from protocols.aggregators import majority_breakdown
from protocols.check import CloisterError
from protocols.hidden_sums.hidden import Hidden
from protocols.playable import cluster_protocols, conditions_named
from protocols.secure_robust import robust_statistics
from protocols.tolerance.analysis import Faults, analyse
from protocols.tolerance.conditions import conditions_of
from protocols.tolerance.delegates import Delegates
from protocols.tolerance.design import window
from protocols.tolerance.hidden import hidden_sides
from protocols.tolerance.parts import clusters_of, size_groups
from protocols.tolerance.schemes import SCHEMES
from protocols.tolerance.worst import worst_case
from tests.command import run_bench

# name -> how many Byzantine inputs of c members make it wrong; design notes, sections 2.1 and 4.
WRONG_FROM: dict[str, Callable[[int], int]] = {
    "median": lambda c: (c + 1) // 2,
    "geometric_median": lambda c: (c + 1) // 2,
    "trimmed_mean": lambda c: 2,
    "krum": lambda c: 2,
    "nnm": lambda c: 2,
    "norm_check": lambda c: 1,
    "range_check": lambda c: 1,
    "clip": lambda c: 1,
    "centered_clipping": lambda c: 1,
    "sign_majority": lambda c: 1,
}
# name -> how many colluding members, of c who share with threshold t, learn an update.
OPEN_FROM: dict[str, Callable[[int, int], int]] = {"norm_check": lambda c, t: 1, "krum": lambda c, t: 0}


def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *words: str) -> tuple[int, str, str]:
    return run_bench(capsys, monkeypatch, "tolerance", *words)


def occupancies(n: int, size: int, faulty: int) -> list[list[tuple[int, int]]]:
    """(faulty members, size) of each cluster, for every placement."""
    sizes = [s for s, count in size_groups(n, size) for _ in range(count)]
    ends = [sum(sizes[:j]) for j in range(len(sizes) + 1)]
    clusters = [set(range(a, b)) for a, b in pairwise(ends)]
    return [
        [(len(cluster & set(chosen)), len(cluster)) for cluster in clusters]
        for chosen in combinations(range(n), faulty)
    ]


@pytest.mark.parametrize("name", robust_statistics.entries())
@pytest.mark.parametrize("mode", ["inputs", "passive"])
def test_the_probabilities_are_the_shares_of_all_placements(name: str, mode: str) -> None:
    """A third-party statistic has no line in the tables above, and fails here: add what it withstands."""
    deviating = mode == "passive"
    conditions = conditions_named(name, mode=mode)
    for n, size, faulty, most in ((10, 5, 3, 0), (11, 5, 4, 1), (12, 6, 5, 1)):
        found = analyse(Faults(n=n, byzantine=faulty), size_groups(n, size), conditions, most)
        placed = occupancies(n, size, faulty)

        def exposed(x: int, c: int) -> bool:
            opens = 1 if deviating else OPEN_FROM.get(name, lambda c, t: t + 1)(c, (c - 1) // 2)
            return opens <= x < c or x > (c - 1) // 2

        def wrong(x: int, c: int) -> bool:
            return x >= (1 if deviating else WRONG_FROM[name](c))

        def lost(x: int, c: int) -> bool:  # whoever follows the protocol stops nothing while t + 1 others are there
            return x > (0 if deviating else c - (c - 1) // 2 - 1)

        private = sum(any(exposed(*each) for each in clusters) for clusters in placed)
        correct = sum(sum(wrong(*each) or lost(*each) for each in clusters) > most for clusters in placed)
        assert math.isclose(found.private.value, private / len(placed), rel_tol=1e-9, abs_tol=1e-300)
        assert math.isclose(found.correct.value, correct / len(placed), rel_tol=1e-9, abs_tol=1e-300)


@pytest.mark.parametrize(("c", "m"), [(3, 3), (5, 3), (3, 7), (7, 5)])
def test_the_worst_case_of_medians_of_medians_is_that_of_the_design_notes(c: int, m: int) -> None:
    """Section 2.3: f* = (c + 1)(m + 1) / 4 - 1 for odd c and m."""
    found = worst_case(((c, m),), conditions_named("median"), majority_breakdown(m))
    assert found.correct == (c + 1) * (m + 1) // 4 - 1
    assert found.private == (c - 1) // 2  # secrecy has no slack: one cluster is enough


def test_medians_in_clusters_hold_where_plain_means_break() -> None:
    """Section 4.4: n = 120, at 10 and at 30 %, clusters of 3 to 9."""
    for faulty, size in ((12, 9), (36, 3), (36, 9)):
        groups = size_groups(120, size)
        most = majority_breakdown(clusters_of(groups))
        plain, inside = (
            analyse(Faults(n=120, byzantine=faulty), groups, each, most).correct.value
            for each in (conditions_of("additive"), conditions_named("median"))
        )
        assert plain > 0.8
        assert inside < 1e-3


def test_a_window_of_sizes_that_is_empty_with_plain_means_is_not_with_medians() -> None:
    """10 of 100, at a target of 1 %: the introduction of the design notes, and its first way out."""
    faults = Faults(n=100, byzantine=10)
    plain, inside = (
        window(faults, each, majority_breakdown, 0.01)
        for each in (conditions_of("additive"), conditions_named("median"))
    )
    assert plain.sizes == ()
    assert plain.private is not None
    assert plain.correct is not None
    assert plain.private > plain.correct
    assert 9 in inside.sizes


def test_the_mode_says_whether_members_deviate_and_the_threshold_who_learns() -> None:
    assert conditions_named("median") == cluster_protocols.make(cluster_protocols.resolve("median")).conditions
    assert conditions_named("median", mode="passive").mode == "passive"
    assert not conditions_named("median", mode="passive").checked_inputs
    assert conditions_named("median", threshold="1").threshold_at(7) == 1
    sharing = conditions_of("shamir", mode="vss", threshold="c/3", checked_inputs=True)
    assert conditions_named("shamir", mode="vss", threshold="c/3", least_honest=3, checked=True) == replace(
        sharing, least_honest=3
    )
    assert conditions_named("additive", revealed=False) == conditions_of("additive", revealed=False)


@pytest.mark.parametrize("name", sorted({*SCHEMES, *robust_statistics.entries()}))
def test_without_further_words_the_conditions_are_those_of_the_plug_in_that_runs(name: str) -> None:
    assert conditions_named(name) == cluster_protocols.make(cluster_protocols.resolve(name)).conditions


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--protocol", "medain"), "did you mean 'median'"),
        (("--protocol", "median", "--mode", "vss"), "mode = 'vss' is unknown"),
        (("--protocol", "median", "--hidden"), "hidden = True means nothing to protocol 'median'"),
        (("--protocol", "median", "--checked-inputs"), "checked_inputs = True means nothing to protocol 'median'"),
        (("--protocol", "median", "--cluster-size", "2"), "no honest majority"),
        (("--protocol", "hidden", "--threshold", "c", "--delegates", "5"), "threshold = 5 of 5 delegates"),
        (("--protocol", "hidden", "--aggregator", "phocas"), "aggregator = 'phocas' has no form under encryption"),
        (("--protocol", "median", "--delegates", "5"), "delegates = 5 means nothing to protocol 'median'"),
        (("--protocol", "median", "--input-check", "range"), "input_check = range means nothing to protocol 'median'"),
        (("--protocol", "hidden", "--input-check", "norm"), "input_check = 'norm' is unknown; allowed: none, range"),
        (
            ("--protocol", "median", "--least-passing", "3"),
            "least_passing = 3 means nothing to protocol 'median', which asks nobody to pass; "
            "allowed: the protocols norm_check, range_check",
        ),
        (("--protocol", "shamir", "--least-passing", "3"), "least_passing = 3 means nothing to protocol 'shamir'"),
        (("--protocol", "hidden", "--least-passing", "3"), "least_passing means nothing to protocol 'hidden'"),
        (
            ("--protocol", "norm_check", "--cluster-size", "5", "--least-passing", "6"),
            "least_passing = 6 of 5 members opens nothing; allowed: 1 to 5, or larger clusters",
        ),
        (("--protocol", "norm_check", "--least-passing", "0"), "least_passing = 0"),
        (("--protocol", "hidden", "--mode", "vss"), "mode = 'vss' is unknown"),
        (("--protocol", "hidden", "--placement", "worst"), "is not known of hidden sums"),
        (("--protocol", "hidden", "--cluster-size", "10"), "delegates = 3 of 2 clusters"),
    ],
)
def test_a_mistake_is_one_line(
    words: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, _, error = run(capsys, monkeypatch, "--n", "20", "--faulty", "3", *words)
    assert code == 2
    assert message in error
    assert len(error.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("median",), "median withstands 1 of 4 clusters with 3 or more Byzantine members of 5, or lost"),
        (("median",), "private  fails with probability 0.127967: 3 or more colluding members of a cluster of 5 open"),
        (("krum",), "what a cluster opens may be the update of one member alone"),
        (("norm_check",), "1 or more colluding members of a cluster of 5 open its updates"),
        (("norm_check",), "median withstands 1 of 4 clusters with a Byzantine member or lost"),
        (("median", "--mode", "passive"), "one colluding member of a cluster of 5, who departs from the protocol"),
        (("hidden",), "hidden (inputs, 3 delegates with threshold 1)"),
        (
            ("hidden",),
            "2 or more colluding delegates of 3 know all sums (with probability 0.0877193), and a cluster has",
        ),
        (("hidden",), "median withstands 1 of 4 clusters with a Byzantine member or lost"),
        (("hidden", "--mode", "passive"), "a member who departs from the protocol changes or stops the result"),
        (("hidden", "--input-check", "range"), "hidden (inputs, 3 delegates with threshold 1, inputs checked)"),
        (
            ("hidden", "--input-check", "range"),
            "private  fails with probability 0.0877193: 2 or more colluding delegates of 3 know all inputs",
        ),
        (("hidden", "--input-check", "range"), "Byzantine members, whose inputs need not pass, leave fewer than 3"),
        (
            ("hidden", "--input-check", "range", "--aggregator", "mean"),
            "members whose inputs do not pass may leave one alone in the mean",
        ),
        (
            ("hidden", "--input-check", "range", "--mode", "detect"),
            "private  fails with probability 0.793395: 1 or more colluding delegates of 2 x 3 know all inputs",
        ),
        (
            ("hidden", "--input-check", "range", "--mode", "detect", "--crash", "1"),
            "it takes a lying delegate in each committee, or too many tainted or lost clusters; else the round stops",
        ),
        (("norm_check", "--least-passing", "4"), "norm_check (inputs, threshold most, least passing 4)"),
        (("norm_check", "--least-passing", "4"), "each with at least 4 of 5 members whose inputs pass"),
    ],
)
def test_the_reasons_are_words(
    words: tuple[str, ...], sentence: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    given = ("--n", "20", "--faulty", "4", "--cluster-size", "5", "--protocol", *words)
    code, out, _ = run(capsys, monkeypatch, *given)
    assert code == 0
    assert sentence in out


def designs_of(name: str, *, checked: bool = False, revealed: bool = True) -> dict[str, float]:
    asked = tolerance.ask(
        n=15,
        faulty="3",
        crash="0",
        curious="0",
        cluster_size="5",
        conditions=conditions_named(name, checked=checked, revealed=revealed),
        policy="random",
        aggregator="median",
        target=1e-3,
        rounds=None,
    )
    (found,) = tolerance.answers(asked, design=True)
    assert found.designs is not None
    json.dumps(found.designs.as_json())
    return {each.protocol: each.fail for each in found.designs.options if each.size == 5}


def test_designs_compare_sums_with_statistics_each_on_its_own_terms() -> None:
    """A statistic checks its inputs; that the sums beside it then did as well would be wrong, unless it was asked."""
    beside_median, beside_sum = designs_of("median"), designs_of("additive")
    assert {"median inputs", "additive passive", "shamir correct"} <= set(beside_median) & set(beside_sum)
    assert beside_median == beside_sum
    checked = designs_of("shamir", checked=True)
    assert checked["additive passive"] >= checked["shamir correct"]
    assert checked["median inputs"] == beside_sum["median inputs"]
    assert not {"median inputs", "krum inputs"} & set(designs_of("shamir", revealed=False))


def test_a_threshold_that_no_cluster_can_have_is_an_error_and_no_probability() -> None:
    with pytest.raises(CloisterError, match="threshold = 6 of 13 parties"):
        analyse(Faults(n=26, byzantine=1), ((13, 2),), conditions_named("median", threshold="c/2"), 0)


def asked_of_hidden(**changes: object) -> tolerance.Question:
    conditions, delegates = hidden_named(mode=None, threshold=None, delegates=3)
    words = {
        **{"n": 12, "faulty": "3", "crash": "0", "curious": "0", "cluster_size": "2", "target": 0.2, "rounds": 4},
        **{"conditions": conditions, "delegates": delegates, "policy": "random", "aggregator": "median"},
    }
    return tolerance.ask(**{**words, **changes})


def two_committees(
    *, mode: str = "detect", check: str = "none", design: bool = False, **changes: object
) -> tolerance.Answer:
    conditions, delegates = hidden_named(mode=mode, threshold=None, delegates=3, input_check=check)
    (found,) = tolerance.answers(asked_of_hidden(conditions=conditions, delegates=delegates, **changes), design=design)
    return found


def test_both_committees_know_the_sums() -> None:
    found = two_committees(n=30, faulty="1", cluster_size="5")
    assert found.as_json()["p_sums_shown"] == pytest.approx(6 / 30)
    assert any("of 2 x 3 know all sums (with probability 0.2)" in line for line in tolerance.describe(found))


@pytest.mark.parametrize("check", ["none", "range"])
def test_the_window_of_two_committees_is_of_sizes_whose_results_are_right(check: str) -> None:
    """Of 24, two liars: 2 x 3 x 3 of 24 x 23 pairs of places are one in each committee; that alone misses 0.03."""
    sizes = range(1, 9)
    each = [two_committees(n=24, faulty="2", check=check, cluster_size=str(size)).analysis.correct for size in sizes]
    assert [side.value for side in each[:4]] == pytest.approx([18 / (24 * 23)] * 4)
    assert all(side.value > 0.2 for side in each[4:])  # of fewer than five clusters two are too many
    # The last two are between what lies and tainted clusters tell, each for itself.
    between = min(side.value for side in each[4:]) * (1 + 1e-9)
    straddling = max(size for size, side in zip(sizes, each, strict=True) if side.value <= between)
    for target, largest in ((0.03, None), (0.04, 4), (between, straddling), (between * (1 - 1e-6), 4)):
        found = two_committees(n=24, faulty="2", check=check, target=target, design=True).designs
        assert found is not None
        assert found.window.correct == largest


def test_no_size_is_right_where_one_committee_has_members_who_deviate() -> None:
    for faulty, largest in (("0", 4), ("1", None)):
        found = two_committees(mode="passive", faulty=faulty, design=True).designs
        assert found is not None
        assert found.window.correct == largest


def test_two_committees_that_check_inputs_have_an_answer_of_every_kind() -> None:
    """Without liars they deliver, and have a best size for a target; with one the round may be stopped."""
    found = two_committees(n=36, faulty="0", crash="2", curious="1", check="range", target=0.25, cluster_size=None)
    assert found.analysis.fail.engine != "bounds"
    assert found.best is not None
    assert found.best.size == found.groups[0][0]
    assert found.analysis.fail.value <= 0.25
    assert (found.worst.private, found.worst.live) == (-1, 0)
    record = found.as_json()
    json.dumps(record)
    assert record["input_check"] == "range"
    assert record["p_sums_shown"] == pytest.approx(6 / 34)
    liar = two_committees(n=36, faulty="1", check="range", cluster_size="3")
    assert (liar.analysis.live.value, liar.worst.all, liar.worst.correct) == (1.0, 0, 1)


def test_only_byzantine_members_depart_from_the_protocol() -> None:
    """With none, a round of 7 members who serve alone goes on as long as six are there."""
    said = {
        faulty: tolerance.describe(two_committees(n=7, faulty=faulty, crash="1", cluster_size="1")) for faulty in "01"
    }
    assert any("who departs from the protocol" in line for line in said["1"])
    assert not any("who departs" in line or "a lying delegate" in line for line in said["0"])
    assert any(line.endswith("fewer than 6 of 7 clusters deliver") for line in said["0"])


def test_hidden_sums_have_a_best_size_a_window_and_a_price() -> None:
    (found,) = tolerance.answers(asked_of_hidden(), design=True)
    record = found.as_json()
    json.dumps(record)
    assert (record["delegates"], record["delegate_threshold"]) == (3, 1)
    # 2 or 3 of 3 delegates among 3 faulty of 12: (3 x 9 + 1) / 220
    assert record["p_sums_shown"] == pytest.approx(28 / 220)
    by_size = {size: tolerance.answers(asked_of_hidden(cluster_size=str(size)))[0].analysis for size in (1, 2, 3, 4)}
    assert found.designs is not None
    assert found.designs.window.sizes == tuple(
        size for size, each in by_size.items() if max(each.private.value, each.correct.value) <= 0.2
    )
    assert found.best is not None
    assert found.best.size == min(size for size, each in by_size.items() if each.fail.value <= 0.2)
    (own,) = [each for each in found.designs.options if (each.protocol, each.size) == ("hidden inputs", 2)]
    assert own.fail == pytest.approx(by_size[2].fail.value)
    protocol = Hidden(group_size=2)
    traffic = protocol.cost(parties=12, clusters=1, coordinates=10_000)
    priced = Price(wire_bytes_per_process=traffic.wire_bytes / 12, rounds=traffic.rounds, comparisons=15 * 157 * 64)
    assert own.price == priced  # all pairs of the six groups' means, in 157 words of lanes
    assert traffic.comparisons == priced.comparisons
    assert {"median inputs", "additive passive"} <= {each.protocol for each in found.designs.options}


def test_delegates_are_drawn_in_every_round_even_where_clusters_are_kept() -> None:
    """Drawn anew, 4 rounds are 4 draws of everything; kept, between one draw and whoever is drawn."""
    redrawn = tolerance.answers(asked_of_hidden())[0]
    assert redrawn.over_rounds == pytest.approx((1 - (1 - redrawn.analysis.fail.value) ** 4,) * 2)
    kept = tolerance.answers(asked_of_hidden(policy="round_robin"))[0]
    assert kept.over_rounds is not None
    low, high = kept.over_rounds
    assert low == pytest.approx(kept.analysis.fail.value)
    assert high > low
    assert redrawn.rounds_until_identified is redrawn.rounds_until_disclosed is None


def test_no_simulation_takes_hidden_sums_for_sums_that_nobody_can_open() -> None:
    with pytest.raises(CloisterError, match="protocol = 'hidden' is unknown"):
        conditions_named("hidden")


@pytest.mark.parametrize("outer", ["median", "mean"])
def test_a_check_of_hidden_inputs_is_asked_for_as_bench_run_has_it(
    outer: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command's probabilities are those of the protocol's delegates; without the check they are others."""
    words = (
        "--n",
        "14",
        "--faulty",
        "3",
        "--curious",
        "3",
        "--crash",
        "1",
        "--cluster-size",
        "2",
        "--aggregator",
        outer,
    )
    protocol = Hidden(group_size=2, outer=outer, input_check="range")
    serving = Delegates(
        threshold=protocol.access.threshold, checked=protocol.checks_inputs, shows_total=protocol.rule.by_members
    )
    faults, groups = Faults(n=14, byzantine=3, crashed=1, curious=3), size_groups(14, 2)
    expected = hidden_sides(faults, groups, protocol.group_conditions, serving, protocol.breakdown(14))
    checked, plain = (
        json.loads(run(capsys, monkeypatch, *words, "--protocol", "hidden", *more, "--json")[1])
        for more in (("--input-check", "range"), ())
    )
    assert (checked["input_check"], plain["input_check"]) == ("range", "none")
    assert checked["p_private_fail"] == expected.private.value > plain["p_private_fail"]
    assert (checked["p_live_fail"], checked["p_fail"]) == (expected.live.value, expected.fail.value)


@pytest.mark.parametrize("name", ["norm_check", "range_check"])
def test_how_many_must_pass_is_asked_for_as_bench_run_has_it(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of five members with threshold 1, four must pass: two Byzantine ones keep their cluster from opening."""
    spec = {"name": name, "threshold": "1", "least_passing": 4}
    conditions = robust_statistics.make(robust_statistics.resolve(spec)).conditions
    assert conditions_named(name, threshold="1", least_passing=4) == conditions
    assert conditions_named(name) == robust_statistics.make(robust_statistics.resolve(name)).conditions
    words = ("--n", "10", "--faulty", "3", "--cluster-size", "5", "--threshold", "1", "--aggregator", "mean")
    few, many = (
        json.loads(run(capsys, monkeypatch, *words, "--protocol", name, "--least-passing", least, "--json")[1])
        for least in ("4", "2")
    )
    placed = occupancies(10, 5, 3)
    expected = sum(any(x > 1 for x, _ in clusters) for clusters in placed) / len(placed)
    assert (few["least_passing"], many["least_passing"]) == (4, 2)
    assert few["p_live_fail"] == pytest.approx(expected, rel=1e-12)
    assert many["p_live_fail"] == 0.0
