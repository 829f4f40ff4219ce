"""Every invariant of the suite against every registered protocol, and bugs that it must find."""

import os
import re
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch

from protocols import zero_sharing
from protocols.check import CloisterError
from protocols.faults import Garbage, Replay, WrongDtype
from protocols.network import CheatingDetectedError, PartyTimeoutError
from protocols.registry import Spec
from protocols.secure_sum import Board, Opened, _verified, secure_sums
from protocols.secure_sum.authenticated import Authenticated
from protocols.secure_sum.plaintext import Plaintext
from protocols.testing import suite
from protocols.testing.invariants import INVARIANTS, PROTOCOL
from protocols.testing.invariants.campaign import campaign, forget, kinds_of_fault
from protocols.testing.invariants.contract import Evidence
from protocols.testing.invariants.runs import observe, scenario_of, sizes
from protocols.testing.placements import FAULTS
from protocols.testing.suite import ConformanceCheck, Result, conformance_checks, default_effort, effort_named, examine
from protocols.testing.verification import house_rows
from protocols.tolerance.conditions import Conditions
from protocols.tolerance.schemes import SCHEMES

CI = os.environ.get("HYPOTHESIS_PROFILE", "ci") == "ci"
# They take a minute, and have many tests of their own; every profile but `ci` tries them.
COSTLY = {"committee", "hierarchical", "masked_graph"}
NIGHTLY = os.environ.get("HYPOTHESIS_PROFILE") == "nightly"
# Two cores have minutes, not hours: each protocol's defaults with little effort; all examples at night.
EFFORT = default_effort() if NIGHTLY else effort_named("dev")


# Of other modes `ci` tries the quick ones of those that share no runs; every other profile, and the report, all.
QUICK = {1, 2, 3, 6, 8, 13, 22, 23, 32, 35, 44}


def specs() -> list[Spec]:
    """The defaults of each protocol but the costliest, and of each mode its first example; at night all examples."""
    chosen: dict[object, Spec] = {}
    for name in sorted(secure_sums.entries()):
        for check in conformance_checks(name, EFFORT):
            mode = secure_sums.make(check.spec).conditions.mode
            chosen.setdefault(check.spec if NIGHTLY else (name, mode), check.spec)
    return list(chosen.values())


def is_tried(check: ConformanceCheck) -> bool:
    if not CI:
        return True
    default = check.spec == secure_sums.resolve(check.spec.name)
    return check.spec.name not in COSTLY if default else check.invariant.number in QUICK


# Checks of one protocol share its runs with faults, so that they belong on one worker.
CHECKS = [
    pytest.param(check, id=str(check), marks=pytest.mark.xdist_group(str(spec)))
    for spec in specs()
    for check in conformance_checks(spec, EFFORT)
    if is_tried(check)
]


@pytest.mark.parametrize("check", CHECKS)
def test_an_invariant_holds_or_is_violated_as_documented(check: ConformanceCheck) -> None:
    assert check().status in {"holds", "violated as documented", "not applicable"}


def test_every_mode_of_every_protocol_is_checked() -> None:
    modes = {(check.spec.name, secure_sums.make(check.spec).conditions.mode) for check in (p.values[0] for p in CHECKS)}
    promised = {(name, mode) for name, modes in SCHEMES.items() for mode in modes}
    left = {(name, next(iter(SCHEMES[name]))) for name in COSTLY} if CI else set[tuple[str, str]]()
    assert promised - modes == left


def test_every_invariant_is_checked_here_or_elsewhere_or_waits_for_an_issue() -> None:
    assert [each.number for each in INVARIANTS] == list(range(1, 46))
    for invariant in INVARIANTS:
        assert invariant.check is not None or invariant.tests or invariant.pending, invariant.name


@pytest.mark.parametrize("named", sorted({test for each in INVARIANTS for test in each.tests}))
def test_a_test_that_an_invariant_names_is_there(named: str) -> None:
    path, *names = named.split("[", maxsplit=1)[0].split("::")
    source = (Path(__file__).parents[2] / path).read_text()
    assert names
    assert all(re.search(rf"^ *(?:class|def) {name}\b", source, re.MULTILINE) for name in names), named


def test_a_check_that_has_tried_nothing_is_no_evidence() -> None:
    with pytest.raises(CloisterError, match="cases = 0 is not allowed"):
        Evidence(how="exact", cases=0, text="nothing")


def test_a_protocol_of_large_clusters_only_is_tried_in_its_smallest() -> None:
    spec = secure_sums.resolve("hierarchical")
    assert sizes(spec, 4) == [6]
    costs = next(each for each in PROTOCOL if each.number == 44)
    assert examine(spec, costs, effort_named("dev")).cases > 0


def status_of(spec: Spec, number: int) -> str:
    invariant = next(each for each in PROTOCOL if each.number == number)
    return examine(spec, invariant, effort_named("dev")).status


class TestPlantedBugs:
    """Each is planted into the real code; `make hunt` has many more."""

    def test_a_sum_that_forgets_a_coordinate_violates_the_exact_sum(self) -> None:
        spec = secure_sums.resolve("plaintext")
        protocol = type(secure_sums.make(spec))
        original = protocol.contribute

        def planted(self: object, party: object, words: torch.Tensor) -> None:
            forgotten = words.clone()
            forgotten[:, -1] = 0
            original(self, party, forgotten)

        assert status_of(spec, 1) == "holds"
        with mock.patch.object(protocol, "contribute", planted):
            assert status_of(spec, 1) == "violated"

    def test_one_mask_for_all_coordinates_is_seen(self) -> None:
        spec = secure_sums.resolve("additive")
        original = zero_sharing.ZeroShares.draw

        def planted(self: zero_sharing.ZeroShares, *, coordinates: int, **given: object) -> torch.Tensor:
            onto = given.pop("onto", None)
            share = original(self, coordinates=1, **given).repeat(1, coordinates)
            return share if onto is None else share + onto

        forget()
        with mock.patch.object(zero_sharing.ZeroShares, "draw", planted):
            assert "violated" in {status_of(spec, 16), status_of(spec, 12), status_of(spec, 14)}
        forget()

    def test_tags_without_masks_leak(self) -> None:
        spec = secure_sums.resolve("authenticated")
        original = _verified.Plan.tag

        def planted(plan: _verified.Plan, coefficients: torch.Tensor, rows: torch.Tensor, attempt: int) -> torch.Tensor:
            unmasked = rows.clone()
            unmasked[..., plan.coordinates :] = 0
            return original(plan, coefficients, unmasked, attempt)

        assert status_of(spec, 12) == "holds"
        with mock.patch.object(_verified.Plan, "tag", planted):
            assert status_of(spec, 12) == "violated"

    def test_a_violation_carries_a_line_that_shows_it_again(self) -> None:
        spec = secure_sums.resolve("plaintext")
        protocol = type(secure_sums.make(spec))
        original = protocol.contribute
        exact_sum = next(each for each in PROTOCOL if each.number == 1)
        with mock.patch.object(protocol, "contribute", lambda self, party, words: original(self, party, words + 1)):
            found = examine(spec, exact_sum, effort_named("dev"))
            assert found.status == "violated"
            program, *arguments = shlex.split(found.replay.removeprefix("python -m "))
            assert program == "protocols.testing.suite"
            assert suite.main(arguments) == 1
        assert suite.main(arguments) == 0


def result(config: str, number: int) -> Result:
    invariant = next(each for each in PROTOCOL if each.number == number)
    return examine(secure_sums.resolve(config), invariant, effort_named("dev"))


class TestChecksHaveEffect:
    """A check that had nothing to look at does not hold; where there is something, a bug in it is found."""

    def test_sums_that_one_loss_stops_open_where_nothing_is_lost_and_have_all_words(self) -> None:
        found = result("authenticated", 5)
        assert (found.status, found.cases) == ("holds", 4)
        assert re.match(r"0 of \d+ runs with crashes", found.text)
        original = Authenticated.collect

        def forgetful(self: Authenticated, board: Board) -> Opened:
            return replace(original(self, board), contributors=tuple(range(board.parties - 1)))

        with mock.patch.object(Authenticated, "collect", forgetful):
            assert "were left out" in violated("authenticated", 5)

    def test_a_protocol_that_opens_nothing_has_no_survivors_to_count(self) -> None:
        result("plaintext", 34)  # counts exchanges, and runs with faults, while sums still open
        with mock.patch.object(Plaintext, "collect", side_effect=PartyTimeoutError("no sum")):
            assert "although every message comes in time" in violated("plaintext", 5)

    def test_who_names_nobody_frames_nobody_for_that_reason(self) -> None:
        found = result("plaintext", 31)
        assert (found.status, found.cases) == ("not applicable", 0)
        assert re.fullmatch(r"it names nobody: none of \d+ runs with faulty members had a suspect", found.text)

        campaign.cache_clear()
        accusation = CheatingDetectedError("it was the last one", suspects=frozenset({9}))
        with mock.patch.object(Plaintext, "collect", side_effect=accusation):
            assert "cheated" in violated("plaintext", 31)
        forget()

    def test_a_run_that_names_a_suspect_is_a_case(self) -> None:
        found = result("authenticated", 31)
        assert found.status == "holds"
        assert 0 < found.cases < 42
        assert found.text == f"{found.cases} of 42 runs named suspects"

    @pytest.mark.parametrize("name", ["committee", "hierarchical"])
    def test_the_threshold_of_servers_and_of_groups_is_tight(self, name: str) -> None:
        assert result(name, 13).status == "holds"

        original = Conditions.exposed
        with mock.patch.object(Conditions, "exposed", lambda self, c, a, k: original(self, c, a + 1, k)):
            assert "learn more than the sum, although" in violated(name, 13)

    @pytest.mark.parametrize(
        ("name", "reason"),
        [("additive", "all members but one"), ("masked_graph", "derived from keys"), ("plaintext", "no secrecy")],
    )
    def test_where_no_threshold_can_be_tight_the_reason_is_the_true_one(self, name: str, reason: str) -> None:
        found = result(name, 13)
        assert found.status == "not applicable"
        assert reason in found.text

    def test_words_that_nobody_gets_two_random_ones_of_have_no_coordinates_to_compare(self) -> None:
        servers_of_degree_0 = secure_sums.resolve({"name": "committee", "servers": 2, "fraction_bits": 24})
        check = next(each for each in PROTOCOL if each.number == 16)
        assert examine(servers_of_degree_0, check, effort_named("dev")).status == "not applicable"

    def test_a_protocol_that_promises_secrecy_to_larger_clusters_only_is_searched_in_the_smallest_of_them(self) -> None:
        assert result("masked_graph", 23).status == "holds"
        with (
            mock.patch("protocols.secure_sum._masked_member.self_mask", unmasked),
            mock.patch("protocols.secure_sum._masked_member.pair_mask", unmasked),
        ):
            assert "are sent to others as they are" in violated("masked_graph", 23)

    def test_tests_that_were_skipped_hold_nothing(self) -> None:
        named = next(each for each in INVARIANTS if each.number == 33).tests[0]

        def row(*outcomes: str) -> tuple[str, str]:
            ended = {f"{named}[{number}]": outcome for number, outcome in enumerate(outcomes)}
            found = next(each for each in house_rows(ended) if each.number == "I33")
            return found.status, found.text

        assert row("skipped", "skipped") == ("not run", "0 tests, 2 skipped")
        assert row("passed", "skipped") == ("holds", "1 tests, 1 skipped")
        assert row("passed", "skipped", "failed")[0] == "violated"
        assert row("passed") == ("holds", "1 tests")
        assert row()[0] == "not run"


class TestTheCampaign:
    def test_has_every_kind_of_fault(self) -> None:
        kinds = kinds_of_fault(1, 4, 2)
        assert {type(kind) for kind in kinds} == set(FAULTS.values())
        assert any(isinstance(kind, Replay) and kind.batches_back for kind in kinds)
        assert any(isinstance(kind, Garbage) and kind.excess_bytes < 0 for kind in kinds)
        assert {kind.width for kind in kinds if isinstance(kind, WrongDtype)} == {"half", "same", "double"}

    def test_an_older_round_that_is_replayed_was_run(self) -> None:
        spec = secure_sums.resolve("plaintext")
        older = scenario_of(spec, 3, faults=[(1, Replay(step=0, batches_back=1))])
        seen = observe(older)
        assert seen.offset is not None
        assert torch.equal(seen.offset, older.words(round_index=0)[:, 1])
        assert scenario_of(spec, 3, faults=[(1, Replay(step=0))]).rounds == 1
        assert seen.exchanges == observe(scenario_of(spec, 3)).exchanges  # of the last round alone


def violated(config: str, number: int) -> str:
    found = result(config, number)
    assert found.status == "violated"
    assert "the check broke" not in found.text
    return found.text


def unmasked(plan: Any, *given: object) -> torch.Tensor:
    return torch.zeros(plan.clusters, plan.coordinates, dtype=torch.int64)


class TestDocumentedViolations:
    def test_stock_crypten_shows_what_is_documented_of_it(self) -> None:
        assert status_of(secure_sums.resolve("additive_stock"), 12) == "violated as documented"

    def test_a_documented_violation_that_does_not_show_is_an_error(self) -> None:
        spec = secure_sums.resolve("additive")
        with mock.patch("protocols.testing.suite.documented_violations", return_value={"I1": "it is said to be wrong"}):
            assert status_of(spec, 1) == "violated"
