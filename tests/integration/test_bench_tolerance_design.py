"""`bench tolerance` beyond one uniform design: placements, moves, rounds, designs, the page."""

import io
import json
import re
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import matplotlib as mpl
import pytest

from bench import tolerance
from bench.peers.tolerance import compare_tolerance
from bench.report import tolerance_page
from bench.report.canvas import settings_of
from bench.report.theme import LIGHT, Theme
from bench.report.tolerance_axes import Shown
from bench.report.tolerance_figures import FIGURES
from bench.report.tolerance_page import write_tolerance_page
from bench.tolerance import hidden_survey
from bench.tolerance.designs import Option, pareto, protocol_of
from bench.tolerance.hidden import hidden_named
from bench.tolerance.pricing import Price, price
from bench.tolerance.survey import survey
from protocols.secure_robust import robust_statistics
from protocols.secure_sum import secure_sums
from protocols.tolerance.conditions import conditions_of
from protocols.tolerance.hidden import Delegates
from protocols.tolerance.parts import size_groups
from protocols.tolerance.policies import PLACEMENTS, POLICIES
from tests.command import run_bench


def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *words: str) -> tuple[int, str, str]:
    return run_bench(capsys, monkeypatch, "tolerance", *words)


def asked(**changes: object) -> tolerance.Question:
    words = {
        **{"n": 60, "faulty": "6", "crash": "0", "curious": "0", "cluster_size": "6", "target": None, "rounds": None},
        **{"conditions": conditions_of("shamir"), "policy": "random", "aggregator": "median"},
    }
    return tolerance.ask(**{**words, **changes})


def test_sizes_that_give_the_same_clusters_give_the_same_answer() -> None:
    """60 processes make three clusters of 20 whether 16 or 20 are asked for, and four of 15 for 15."""
    found = [tolerance.answers(asked(cluster_size=str(size)))[0].as_json() for size in (15, 16, 18, 20)]
    ours = ("cluster_size", "seconds", "search_seconds")
    told = [{key: value for key, value in each.items() if key not in ours} for each in found]
    assert told[1] == told[2] == told[3] != told[0]


@pytest.mark.parametrize("policy", sorted(POLICIES))
def test_every_policy_answers_under_every_placement(policy: str) -> None:
    for placement in PLACEMENTS:
        (found,) = tolerance.answers(asked(n=24, faulty="4", policy=policy, placement=placement, rounds=3))
        record = found.as_json()
        json.dumps(record)
        assert 0 <= record["p_live_fail"] <= 1
        assert record["bounds"]["fail"][0] <= record["bounds"]["fail"][1] <= record["union_bound"] * (1 + 1e-9)
        assert len(tolerance.describe(found)) >= 7


def test_the_law_of_broken_clusters_adds_up_and_its_tail_is_the_correct_side() -> None:
    (found,) = tolerance.answers(asked())
    law = found.as_json()["broken_clusters"]
    assert sum(law) == pytest.approx(1, rel=1e-10)
    assert sum(law[found.tolerate + 1 :]) == pytest.approx(found.analysis.correct.value, rel=1e-9)
    mean = sum(k * p for k, p in enumerate(law))
    assert found.as_json()["broken_clusters_mean"] == pytest.approx(mean, rel=1e-10)


@pytest.mark.parametrize("placement", ["uniform", "targeted", "iid", "packed"])
@pytest.mark.parametrize("protocol", ["additive", "shamir"])
def test_what_is_called_certain_is_zero_or_one(placement: str, protocol: str) -> None:
    """The engine is named in words: "the same for every placement" must not be said of a chance."""
    moves = 2 if placement == "targeted" else 0
    question = asked(moves=moves, placement=placement, conditions=conditions_of(protocol), cluster_size="5")
    found = tolerance.answers(question)[0].analysis
    for side in (found.private, found.correct, found.live, found.fail):
        assert side.engine != "certain" or side.value in {0.0, 1.0}


def test_an_adversary_that_moves_is_worse_the_longer_clusters_are_kept() -> None:
    fails = [
        tolerance.answers(asked(moves=moves, every=every, cluster_size="10"))[0].analysis.private.value
        for moves, every in ((0, 1), (1, 1), (1, 2))
    ]
    assert fails[0] < fails[1] < fails[2]
    # A policy that never draws again is aimed at all along.
    kept = asked(moves=1, rounds=4, policy="round_robin")
    assert (kept.placement, kept.aimed, asked(moves=1, rounds=4).aimed) == ("targeted", 4, 1)


@pytest.mark.parametrize(
    ("pre", "name", "withstood"),
    [
        ("none", "median", 4),
        ("nnm", "nnm + median", 4),
        ("bucketing", "bucketing + median", 2),  # five buckets
        ('{name = "bucketing", size = 3}', "bucketing + median", 1),  # three
        ("bucketing,nnm", "bucketing + nnm + median", 2),
        ("clip,none", "clip + median", 4),
    ],
)
def test_what_comes_before_the_rule_changes_what_is_tolerated(pre: str, name: str, withstood: int) -> None:
    """Ten clusters; the verdict's law and the worst case are those of the composed rule."""
    (found,) = tolerance.answers(asked(pre=pre))
    assert (found.question.rule_name, found.tolerate) == (name, withstood)
    assert found.worst.correct == withstood
    law = tolerance.answers(asked())[0].as_json()["broken_clusters"]
    assert found.analysis.correct.value == pytest.approx(sum(law[withstood + 1 :]), rel=1e-9)
    assert f"{name} withstands {withstood} of 10 clusters" in "\n".join(tolerance.describe(found))
    assert all(step in found.as_json()["pre"] for step in name.split(" + ")[:-1])


def test_over_rounds_each_policy_says_what_it_knows() -> None:
    over = {
        policy: tolerance.answers(asked(policy=policy, rounds=4, cluster_size="20"))[0].over_rounds
        for policy in ("random", "sticky", "round_robin", "reputation", "overlapping")
    }
    once = tolerance.answers(asked(cluster_size="20"))[0].analysis.fail.value
    assert over["reputation"] == (once, 1.0)  # what is learnt may lead to anything
    assert over["round_robin"] == (once, once)
    assert over["random"][0] == over["random"][1] > once
    assert once < over["sticky"][0] == over["sticky"][1] < over["random"][1]
    assert over["overlapping"][1] <= 2 * once


def test_rounds_to_disclosure_and_to_identification_are_given_where_clusters_are_drawn_anew() -> None:
    record = tolerance.answers(asked())[0].as_json()
    assert record["rounds_until_disclosed"] == 6  # (60 - 6 - 1) / (10 - 1)
    assert record["rounds_until_identified"] > 1
    assert tolerance.answers(asked(policy="round_robin"))[0].as_json()["rounds_until_disclosed"] is None
    hidden = asked(conditions=conditions_of("shamir", revealed=False))
    assert tolerance.answers(hidden)[0].as_json()["rounds_until_disclosed"] is None


def test_a_design_has_a_window_a_cheapest_size_and_a_front(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("--n", "120", "--faulty", "2", "--protocol", "additive", "--target", "1e-4", "--design")
    record = json.loads(run(capsys, monkeypatch, *words, "--json")[1])
    design = record["design"]
    assert design["window"]["private_from"] == record["best_cluster_size"] == design["cheapest"]["size"]
    assert design["cheapest"]["fail"] <= 1e-4
    assert design["largest_faulty_at_target"] >= 2
    front = design["pareto_front"]
    assert [option["wire_bytes_per_process"] for option in front] == sorted(
        option["wire_bytes_per_process"] for option in front
    )
    assert [option["fail"] for option in front] == sorted((option["fail"] for option in front), reverse=True)
    text = run(capsys, monkeypatch, *words)[1]
    assert "window of sizes" in text
    assert "cheapest with this protocol: additive" in text


def test_nothing_beats_the_front() -> None:
    options = [
        Option(protocol="p", size=i, fail=fail, price=Price(wire_bytes_per_process=cost, rounds=1, comparisons=0))
        for i, (cost, fail) in enumerate([(3.0, 0.1), (1.0, 0.5), (2.0, 0.5), (4.0, 0.2), (5.0, 0.01), (3.0, 0.1)])
    ]
    front = pareto(options)
    assert [(_bytes(option), option.fail) for option in front] == [(1.0, 0.5), (3.0, 0.1), (5.0, 0.01)]
    for option in options:
        assert any(each.fail <= option.fail and _bytes(each) <= _bytes(option) for each in front)


def _bytes(option: Option) -> float:
    return option.price.wire_bytes_per_process


def test_a_price_is_the_protocols_own_formula() -> None:
    protocol = protocol_of(conditions_of("shamir", mode="vss", threshold="c/3"))
    assert (protocol.conditions.mode, protocol.conditions.threshold) == ("vss", "c/3")
    groups = size_groups(22, 5)  # two of 5, two of 6
    small, large = (protocol.cost(parties=c, clusters=1, coordinates=100) for c in (5, 6))
    found = price(protocol, 22, groups, 100)
    assert found.wire_bytes_per_process == 2 * (small.wire_bytes + large.wire_bytes) / 22
    assert (found.rounds, found.comparisons) == (max(small.rounds, large.rounds), 0)
    assert price(secure_sums.make(secure_sums.resolve("additive")), 22, groups, 200).wire_bytes_per_process > 0


def test_comparisons_are_those_of_all_clusters() -> None:
    """All pairs of five members in two clusters, of six in two, 100 coordinates in two words of 64 lanes."""
    median = robust_statistics.make(robust_statistics.resolve("median"))
    assert price(median, 22, size_groups(22, 5), 100).comparisons == 2 * (10 + 15) * 128


def test_the_page_loads_nothing_and_says_what_the_command_says(tmp_path: Path) -> None:
    found = tolerance.answers(asked(n=24, faulty="2", cluster_size="3:5", target=1e-3))
    path = write_tolerance_page(tmp_path / "deep" / "page.html", found)
    page = path.read_text("utf-8")
    assert not re.search(r"https?://|<script|@import|url\(", page)
    assert page.count("data:image/png;base64,") == 10  # five figures, light and dark
    assert "24 processes, 2 Byzantine" in page
    for line in tolerance.describe(found[0])[1:5]:
        assert line.split(None, 1)[1].split(":")[0] in page


@pytest.mark.parametrize("more", [(), ("--mode", "detect", "--input-check", "range")], ids=["inputs", "both"])
def test_the_page_of_hidden_sums_shows_delegates_and_committees_and_no_policies_or_levels(
    more: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("--n", "24", "--faulty", "2", "--cluster-size", "4", "--protocol", "hidden", *more, "--out", str(tmp_path))
    drawn: list[str] = []

    def noted(name: str, seen: Shown, theme: Theme) -> tuple[bytes, int, int]:
        with mpl.rc_context(settings_of(theme)):
            FIGURES[name](seen, theme)
        drawn.append(f"{name} {theme.name}")
        return b"", 1, 1

    monkeypatch.setattr(tolerance_page, "_drawn", noted)
    code, said, _ = run(capsys, monkeypatch, *words)
    page = (tmp_path / "tolerance.html").read_text("utf-8")
    names = ("window", "heat-map", "delegates", "committees", "cost")
    assert drawn == [f"{name} {tone}" for name in names for tone in ("light", "dark")]
    assert [name for name in FIGURES if f'<section id="{name}">' in page] == list(names)
    assert (code, page.count("data:image/png;base64,")) == (0, 10)
    for line in said.splitlines()[1:5]:
        assert line.split(None, 1)[1].split(":")[0] in page


def test_the_curves_of_hidden_sums_are_the_answers_probabilities() -> None:
    """At every size: of the delegates asked about both sides and their bound, and of more delegates a safer sum."""
    conditions, serving = hidden_named(mode=None, threshold=None, delegates=5)
    question = asked(n=24, faulty="6", conditions=conditions, delegates=serving)
    seen = survey(question, size_groups(24, 4))
    curves = {(curve.panel, curve.name): dict(zip(curve.sizes, curve.values, strict=True)) for curve in seen.delegates}
    window = {curve.side: dict(zip(curve.sizes, curve.values, strict=True)) for curve in seen.sides}
    for size in (1, 2, 3, 4):
        alone = asked(n=24, faulty="6", conditions=conditions, delegates=serving, cluster_size=str(size))
        (found,) = tolerance.answers(alone)
        private, correct = found.analysis.private.upper, found.analysis.correct.upper
        assert curves["private", "5 delegates"][size] == window["private"][size] == private
        assert window["correct"][size] == correct
        assert curves["fail", "5 delegates"][size] == pytest.approx(min(1, private + correct), rel=1e-12)
        assert curves["private", "3 delegates"][size] > private > curves["private", "9 delegates"].get(size, 0.0)
    assert max(curves["private", "9 delegates"]) == 2  # of larger clusters there are fewer than nine
    ways = {(curve.panel, curve.name): curve.values for curve in seen.committees}
    assert set(ways["correct", "some deviate, one committee"]) == {1.0}
    assert ways["correct", "some deviate, two committees"][0] < 1
    assert ways["private", "all follow the protocol"][1] < ways["private", "some deviate, one committee"][1]
    assert ways["private", "some deviate, one committee"][1] < ways["private", "some deviate, two committees"][1]


def test_the_curves_of_two_committees_that_check_inputs_are_the_answers_probabilities() -> None:
    conditions, serving = hidden_named(mode="detect", threshold=None, delegates=3, input_check="range")
    question = asked(n=24, faulty="3", conditions=conditions, delegates=serving)
    seen = survey(question, size_groups(24, 4))
    for side in ("private", "correct"):
        (curve,) = [
            each for each in seen.committees if (each.panel, each.name) == (side, "some deviate, two committees")
        ]
        drawn = dict(zip(curve.sizes, curve.values, strict=True))
        for size in (1, 2, 4, 8):
            alone = asked(n=24, faulty="3", conditions=conditions, delegates=serving, cluster_size=str(size))
            (found,) = tolerance.answers(alone)
            assert drawn[size] == getattr(found.analysis, side).value
            assert 0 < drawn[size] < 1


@pytest.mark.parametrize("check", ["none", "range"])
def test_the_ways_to_deviate_are_drawn_of_one_committee_and_of_two(monkeypatch: pytest.MonkeyPatch, check: str) -> None:
    _, serving = hidden_named(mode=None, threshold=None, delegates=3, input_check=check)
    drawn: dict[str, tuple[bool, int, int]] = {}

    def noted(question: object, sides: object, ways: Iterable[tuple[str, Delegates]]) -> list[object]:
        drawn.update({name: (way.deviating, way.committees, way.count) for name, way in ways})
        return []

    monkeypatch.setattr(hidden_survey, "_panels", noted)
    for deviating, committees in ((False, 1), (True, 1), (True, 2)):
        way = replace(serving, deviating=deviating, committees=committees)
        hidden_survey.committee_curves(asked(n=24, delegates=way))
        assert drawn == {
            "all follow the protocol": (False, 1, 3),
            "some deviate, one committee": (True, 1, 3),
            "some deviate, two committees": (True, 2, 3),
        }


@pytest.mark.parametrize("placement", [None, "spread"])
def test_the_page_speaks_of_the_law_of_broken_clusters_where_it_is_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, placement: str | None
) -> None:
    found = tolerance.answers(asked(n=24, faulty="2", cluster_size="4", placement=placement))
    drawn: list[int] = []

    def noted(name: str, seen: Shown, theme: Theme) -> tuple[bytes, int, int]:
        if (name, theme) != ("window", LIGHT):
            return b"", 1, 1  # the captions of the others are not looked at
        with mpl.rc_context(settings_of(theme)):
            drawn.append(len(FIGURES[name](seen, theme).axes))
        return b"", 1, 1

    monkeypatch.setattr(tolerance_page, "_drawn", noted)
    page = write_tolerance_page(tmp_path / "page.html", found).read_text("utf-8")
    assert drawn == ([2] if placement is None else [1])
    assert ("At the right, how many clusters break" in page) is (placement is None)


def test_the_same_answers_give_the_same_figures() -> None:
    (found,) = tolerance.answers(asked(n=24, faulty="2"))
    seen = Shown(answers=[found], survey=survey(found.question, found.groups))
    drawn = []
    for _ in range(2):
        with mpl.rc_context(settings_of(LIGHT)):
            figure, buffer = FIGURES["cost"](seen, LIGHT), io.BytesIO()
            figure.savefig(buffer, format="png", metadata={"Software": None})
        drawn.append(buffer.getvalue())
    assert drawn[0] == drawn[1]


def test_out_is_a_file_or_a_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("", "utf-8")
    words = ("--n", "30", "--faulty", "2", "--cluster-size", "5", "--out")
    code, _, err = run(capsys, monkeypatch, *words, str(blocked / "page.html"))
    assert (code, err.count("\n")) == (2, 1)
    assert "is no place for a page" in err
    written: list[Path] = []
    monkeypatch.setattr(tolerance_page, "write_tolerance_page", lambda path, answers: written.append(path))
    for out in (tmp_path / "new", tmp_path / "new" / "tolerance.html"):
        code, said, _ = run(capsys, monkeypatch, *words, str(out))
        assert (code, said.splitlines()[-1]) == (0, f"page: {tmp_path / 'new' / 'tolerance.html'}")
    assert written == [tmp_path / "new" / "tolerance.html"] * 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--placement", "by_domian"), "did you mean 'by_domain'"),
        (("--placement", "by_domain", "--domains", "99"), "domains = 99 is more than n = 30"),
        (("--placement", "packed", "--moves", "1"), "allowed: --placement targeted"),
        (("--moves", "-1"), "moves = -1"),
        (("--faulty", "10", "--moves", "11"), "allowed: 0 to 10"),
        (("--pre", " "), "allowed: names such as nnm"),
        (("--every", "0"), "every = 0"),
        (("--policy", "hierarchical", "--levels", "3,x"), "levels = '3,x' is not understood"),
        (("--policy", "hierarchical", "--levels", "0"), "levels = 0"),
        (("--levels", "3,4"), "levels = 3,4 means nothing here"),
        (("--domains", "7"), "domains = 7 means nothing here"),
        (("--every", "5"), "every = 5 means nothing here"),
        (("--every", "5", "--rounds", "9", "--policy", "round_robin"), "every = 5 means nothing here"),
        (("--coordinates", "5"), "coordinates = 5 means nothing here"),
        (("--protocol", "additive_stock"), "protocol = 'additive_stock' does not keep what it promises"),
        (("--policy", "similarty"), "did you mean 'similarity'"),
        (("--pre", "buketing"), "did you mean 'bucketing'"),
        (("--pre", '{name = "bucketing", size = 0}'), "size = 0"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    words: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, out, err = run(capsys, monkeypatch, "--n", "30", "--faulty", "3", "--cluster-size", "5", *words)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


def test_the_list_of_commands_does_not_wait_for_the_figures() -> None:
    code = "import sys, bench.cli; print(sorted({'torch', 'seaborn', 'bench.tolerance'} & set(sys.modules)))"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "[]"


def test_the_speed_comparison_runs_at_sizes_that_take_no_time() -> None:
    found = compare_tolerance(turns=1, n=40, designs=6, large=2000)
    assert [each.peer.split()[1] for each in found] == ["placements", "placements", "placement", "placement"]
    assert min(each.ours_s for each in found) > 0
