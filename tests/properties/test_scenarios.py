"""Scenarios replay word for word, shrink to what matters, and end as the protocols' conditions say."""

import re
import subprocess
import sys
from dataclasses import replace
from unittest import mock

import pytest
import torch
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st

from protocols import zero_sharing
from protocols.check import CloisterError
from protocols.faults import Combined, Crash, Duplicate, Equivocate, Fault, Garbage, Mute, Tamper
from protocols.keyring import make_keyring
from protocols.network import BOARD
from protocols.randomness import SecretStreams
from protocols.secure_sum import secure_sums
from protocols.testing import examples_of, refusal
from protocols.testing import scenarios as module
from protocols.testing.outcomes import Outcome, ring_sum
from protocols.testing.placements import FAULTS, Placement, fault_of, written
from protocols.testing.scenarios import Scenario, contradiction, main, random_scenario, throughput
from protocols.testing.strategies import (
    check_conditions,
    check_scenario,
    clusterings,
    fault_strategies,
    placements,
    scenarios,
)

SPECS = examples_of(secure_sums)
# Its shares and its seeds come from CrypTen, not from the keyring.
OWN_RANDOMNESS = {"additive_stock"}


def scenario_of(name: str = "additive", parties: int = 3, *placed: tuple[int, Fault], **sizes: int) -> Scenario:
    return Scenario(protocol=secure_sums.resolve(name), parties=parties, placement=Placement(faults=placed), **sizes)


class TestLines:
    """One line of text is one scenario."""

    @given(scenario=scenarios(curious=3, board=True))
    def test_a_line_gives_its_scenario_back(self, scenario: Scenario) -> None:
        line = scenario.line()
        assert Scenario.parse(line) == scenario
        assert Scenario.parse(line.removeprefix("cloister-replay ")) == scenario
        assert "\n" not in line

    @given(scenario=scenarios())
    def test_a_line_in_single_quotes_is_one_word_of_a_shell(self, scenario: Scenario) -> None:
        assert "'" not in scenario.line()

    def test_scenarios_that_differ_have_lines_that_differ(self) -> None:
        plain = scenario_of()
        others = [
            replace(plain, parties=4),
            replace(plain, clusters=2),
            replace(plain, coordinates=2),
            replace(plain, words_seed=1),
            replace(plain, schedule=1),
            replace(plain, rounds=2),
            replace(plain, protocol=secure_sums.resolve({"name": "additive", "bits": 32})),
            replace(plain, placement=Placement(curious=frozenset({1}))),
            replace(plain, placement=Placement(faults=((0, Crash(step=0)),))),
            replace(plain, placement=Placement(faults=((0, Crash(step=0, after=1)),))),
            replace(plain, placement=Placement(faults=((BOARD, Crash(step=0)),))),
        ]
        assert len({each.line() for each in [plain, *others]}) == len(others) + 1

    @pytest.mark.parametrize(
        ("line", "said"),
        [
            ("nonsense", "no replay line"),
            ("[1]", "no replay line"),
            ('{"parties":3}', "protocol"),
            ('{"protocol":"additive"}', "parties"),
            ('{"protocol":"aditive","parties":3}', "did you mean 'additive'"),
            ('{"protocol":"additive","partys":3}', "did you mean 'parties'"),
            ('{"protocol":"additive","parties":0}', "parties = 0"),
            ('{"protocol":"additive","parties":"3"}', "parties = '3'"),
            ('{"protocol":"additive","parties":3,"rounds":0}', "rounds = 0"),
            ('{"protocol":"additive","parties":3,"faults":[[3,{"fault":"Crash","step":0}]]}', r"ranks \[3\]"),
            ('{"protocol":"additive","parties":3,"curious":[7]}', r"ranks \[7\]"),
            ('{"protocol":"additive","parties":3,"faults":[[0,{"fault":"Crush","step":0}]]}', "did you mean 'Crash'"),
            ('{"protocol":"additive","parties":3,"faults":[[0,{"fault":"Crash","stp":0}]]}', "did you mean 'step'"),
            ('{"protocol":"additive","parties":3,"faults":[[0,{"fault":"Crash"}]]}', "Crash"),
            ('{"protocol":"additive","parties":3,"faults":[[0,{"fault":"Crash","step":"a"}]]}', "integer"),
            ('{"protocol":"additive","parties":3,"curious":[0],"faults":[[0,{"fault":"Crash","step":0}]]}', "both"),
        ],
    )
    def test_a_mistake_in_a_line_is_named(self, line: str, said: str) -> None:
        with pytest.raises(CloisterError, match=said):
            Scenario.parse(line)

    @given(data=st.data())
    def test_every_fault_can_be_written_down(self, data: st.DataObject) -> None:
        for name, strategy in fault_strategies(parties=4).items():
            fault = data.draw(strategy)
            assert written(fault)["fault"] == name
            assert fault_of(written(fault)) == fault

    def test_a_fault_that_nobody_can_replay_is_refused(self) -> None:
        with pytest.raises(CloisterError, match="Combined"):
            written(Combined(faults=(Crash(step=0),)))


class TestPlacements:
    """Who is what."""

    def test_one_byzantine_fault_makes_a_member_byzantine(self) -> None:
        placed = Placement(
            faults=((0, Crash(step=3)), (1, Crash(step=2)), (0, Duplicate(step=1)), (BOARD, Garbage(step=0))),
            curious=frozenset({4}),
        )
        assert (placed.byzantine, placed.crashed, placed.counts) == ({0}, {1}, (1, 1, 1))
        assert placed.board_fails
        assert placed.by_rank[0] == Combined(faults=(Crash(step=3), Duplicate(step=1)))
        assert placed.by_rank[1] == Crash(step=2)

    @given(data=st.data(), parties=st.integers(1, 8), most=st.tuples(*[st.integers(0, 3)] * 3), board=st.booleans())
    def test_a_drawn_placement_keeps_its_bounds(
        self, data: st.DataObject, parties: int, most: tuple[int, int, int], board: bool
    ) -> None:
        byzantine, crashed, curious = most
        placed = data.draw(placements(parties, byzantine=byzantine, crashed=crashed, curious=curious, board=board))
        assert all(count <= bound for count, bound in zip(placed.counts, most, strict=True))
        everybody = [*placed.byzantine, *placed.crashed, *placed.curious]
        assert len(set(everybody)) == len(everybody)
        assert set(everybody) <= set(range(parties))
        assert board or not placed.board_fails

    @given(data=st.data(), name=st.sampled_from(sorted(FAULTS)))
    def test_only_the_named_faults_occur(self, data: st.DataObject, name: str) -> None:
        placed = data.draw(placements(4, byzantine=4, crashed=4, faults=[name]))
        assert {type(fault) for _, fault in placed.faults} <= {FAULTS[name]}

    def test_every_kind_of_fault_does_occur(self) -> None:
        for name, kind in FAULTS.items():
            found = find(
                placements(4, byzantine=2, crashed=2),
                lambda placed, kind=kind: any(isinstance(fault, kind) for _, fault in placed.faults),
                settings=settings(max_examples=1000, database=None, derandomize=True, phases=[Phase.generate]),
            )
            assert found.faults, name

    def test_an_unknown_fault_is_refused(self) -> None:
        with pytest.raises(CloisterError, match="did you mean 'Tamper'"):
            find(placements(2, faults=["Tampr"]), lambda placed: True)

    @given(data=st.data(), n=st.integers(1, 9))
    def test_a_drawn_clustering_is_a_partition(self, data: st.DataObject, n: int) -> None:
        clustering = data.draw(clusterings(n))
        assert sorted(member for cluster in clustering.clusters for member in cluster) == list(range(n))

    def test_clusterings_shrink_to_one_cluster_and_reach_any_number(self) -> None:
        assert find(clusterings(5), lambda clustering: True).clusters == ((0, 1, 2, 3, 4),)
        assert find(clusterings(5), lambda clustering: len(clustering.clusters) == 5).sizes == (1, 1, 1, 1, 1)


class TestWords:
    """What the members add."""

    @pytest.mark.parametrize("spec", SPECS, ids=str)
    @given(seed=st.integers(0, 2**16), round_index=st.integers(0, 3))
    def test_words_are_words_of_the_ring_and_depend_on_seed_and_round(self, spec, seed: int, round_index: int) -> None:
        scenario = Scenario(protocol=spec, parties=8, clusters=2, coordinates=5, words_seed=seed, rounds=4)
        words = scenario.words(round_index=round_index)
        modulus = scenario.ring.modulus
        assert int(words.min()) >= -(modulus // 2)
        assert int(words.max()) <= (modulus - 1) // 2
        assert words.shape == (2, 8, 5)
        assert not torch.equal(words, scenario.words(round_index=(round_index + 1) % 4))
        # 80 words from at least 2^31: equal with probability below 2^-1000.
        assert not torch.equal(words, replace(scenario, words_seed=seed + 1).words(round_index=round_index))

    def test_seed_0_counts(self) -> None:
        scenario = scenario_of("additive", 2, clusters=2, coordinates=2, rounds=2)
        assert scenario.words(round_index=0).tolist() == [[[1, 2], [3, 4]], [[5, 6], [7, 8]]]
        assert scenario.words().tolist() == [[[9, 10], [11, 12]], [[13, 14], [15, 16]]]

    @given(
        words=st.lists(st.integers(-(2**63), 2**63 - 1), min_size=3, max_size=3),
        chosen=st.sets(st.integers(0, 2)),
        name=st.sampled_from(["additive", "shamir"]),
    )
    def test_ring_sums_are_sums_of_integers_modulo_the_ring(
        self, words: list[int], chosen: set[int], name: str
    ) -> None:
        ring = secure_sums.make(secure_sums.resolve(name)).ring
        ((found,),) = ring_sum(torch.tensor(words).view(1, 3, 1), chosen, ring)
        assert (found - sum(words[rank] for rank in chosen)) % ring.modulus == 0
        assert -(ring.modulus // 2) <= found <= (ring.modulus - 1) // 2


class TestReplays:
    """The same line ends in the same way."""

    @pytest.mark.parametrize("name", sorted(secure_sums.entries()))
    @settings(max_examples=10)
    @given(data=st.data())
    def test_the_same_line_gives_the_same_outcome_and_trace(self, name: str, data: st.DataObject) -> None:
        line = data.draw(scenarios([name], byzantine=2, crashed=2, board=True)).line()
        first, second = (Scenario.parse(line).run() for _ in range(2))
        if name in OWN_RANDOMNESS:
            # Tampering with random shares opens random sums.
            first, second = (replace(each, trace="", sums=(), honest_offset=()) for each in (first, second))
        assert first == second, line

    def test_another_schedule_or_other_words_give_another_trace(self) -> None:
        plain = scenario_of("additive", 3)
        traces = {each.run().trace for each in (plain, replace(plain, schedule=1), replace(plain, words_seed=1))}
        assert len(traces) == 3

    def test_another_size_or_fault_gives_another_shape(self) -> None:
        plain = scenario_of("additive", 3)
        others = [replace(plain, parties=4), scenario_of("additive", 3, (0, Crash(step=1)))]
        assert len({each.run().shape for each in (plain, *others)}) == 3

    def test_keys_of_the_operating_system_would_not_replay(self) -> None:
        """The negative twin: with real keys the traces of two runs differ (equal with probability below 2^-128)."""
        scenario = scenario_of("additive", 3)
        with mock.patch.object(module, "replayable_keyring", return_value=make_keyring):
            first, second = scenario.run(), scenario.run()
        assert first.trace != second.trace
        assert first.shape == second.shape

    def test_rounds_before_the_last_follow_the_protocol(self) -> None:
        tampered = scenario_of("plaintext", 3, (1, Tamper(step=0, delta=1)), rounds=3)
        seen: list[torch.Tensor] = []
        original = module.InProcessParties.open_sums

        def spy(self, protocol, words):
            opened = original(self, protocol, words)
            seen.append(opened.sums - words.sum(dim=1))
            return opened

        with mock.patch.object(module.InProcessParties, "open_sums", spy):
            assert tampered.run().kind == "wrong"
        assert [int(offset) for offset in seen] == [0, 0, 1]


class TestOutcomes:
    """What an outcome says."""

    def test_of_exact_sums(self) -> None:
        outcome = scenario_of("additive", 3, coordinates=2).run()
        assert (outcome.kind, outcome.contributors, outcome.sums) == ("exact", (0, 1, 2), ((9, 12),))
        assert outcome.honest_offset == ((0, 0),)
        assert outcome.opened

    def test_of_wrong_sums_it_says_what_the_byzantine_members_added(self) -> None:
        outcome = scenario_of("plaintext", 3, (1, Tamper(step=0, delta=10)), coordinates=2, clusters=2).run()
        assert outcome.kind == "wrong"
        # Their words 3, 4 and 9, 10, and the 10 that was added.
        assert outcome.honest_offset == ((13, 14), (19, 20))

    def test_of_a_typed_error(self) -> None:
        outcome = scenario_of("additive", 3, (1, Crash(step=1))).run()
        assert (outcome.kind, outcome.opened, outcome.sums) == ("PartyCrashedError", False, ())
        assert "closed its connection" in outcome.error

    def test_a_mistake_in_a_protocols_code_is_no_network_error(self) -> None:
        scenario = scenario_of("plaintext", 3)
        broken = type(secure_sums.make(scenario.protocol))
        with mock.patch.object(broken, "collect", mock.Mock(side_effect=ZeroDivisionError("planted"))):
            outcome = scenario.run()
        assert outcome.kind == "ZeroDivisionError"
        assert "no network error" in (contradiction(scenario, outcome) or "")

    def test_a_cluster_that_the_protocol_cannot_run_is_refused(self) -> None:
        with pytest.raises(CloisterError, match="allowed"):
            scenario_of("hierarchical", 2).run()


class TestContradictions:
    """The judge of outcomes is no rubber stamp."""

    SCENARIO = scenario_of("shamir", 7, (2, Tamper(step=4, delta=1)), (5, Crash(step=1)))

    def judged(self, scenario: Scenario | None = None, **changes: object) -> str:
        chosen = scenario or self.SCENARIO
        return contradiction(chosen, replace(chosen.run(), **changes)) or "nothing"

    def test_what_did_happen_is_none(self) -> None:
        assert self.judged() == "nothing"

    @pytest.mark.parametrize(
        ("changes", "said"),
        [
            ({"kind": "wrong"}, "off by"),
            ({"kind": "PartyTimeoutError"}, "although"),
            ({"kind": "CheatingDetectedError", "suspects": frozenset({5})}, "although"),
            ({"kind": "KeyError"}, "no network error"),
            ({"suspects": frozenset({1})}, "innocent"),
            ({"suspects": frozenset({2, 5})}, "innocent"),
            ({"contributors": (0, 1, 2, 3, 4, 6, 7)}, "no members"),
            ({"contributors": (0, 1, 2, 3, 4)}, "left out"),
        ],
    )
    def test_what_could_not_happen_is_one(self, changes: dict[str, object], said: str) -> None:
        assert said in self.judged(**changes)

    def test_a_suspect_of_an_abort_must_be_byzantine(self) -> None:
        scenario = scenario_of("authenticated", 4, (2, Tamper(step=0, delta=1)))
        assert "none of the suspects" in self.judged(scenario, kind="CheatingDetectedError", suspects=frozenset({3}))

    def test_a_member_that_changes_what_it_deals_may_just_have_another_input(self) -> None:
        early, late = (scenario_of("shamir", 7, (2, Tamper(step=step, delta=1))) for step in (0, 4))
        assert "off by" in self.judged(late, kind="wrong", contributors=tuple(range(7)))
        assert self.judged(early, kind="wrong", contributors=tuple(range(7))) == "nothing"
        assert "off by" in self.judged(early, kind="wrong", contributors=(0, 1, 3, 4, 5, 6))

    def test_a_faulty_board_excuses_everything_but_mistakes_in_the_code(self) -> None:
        scenario = scenario_of("shamir", 7, (BOARD, Mute(step=0)))
        assert self.judged(scenario, kind="wrong") == "nothing"
        assert "no network error" in self.judged(scenario, kind="IndexError")


class TestChecks:
    """A failing check carries the line that replays it."""

    def test_the_predicate_decides_and_the_line_is_in_the_error(self) -> None:
        scenario = scenario_of("additive", 3, (1, Crash(step=0)))
        assert check_scenario(scenario, lambda outcome: not outcome.opened).kind == "PartyCrashedError"
        with pytest.raises(AssertionError) as caught:
            check_scenario(scenario, lambda outcome: outcome.opened)
        found = re.search(r"cloister-replay .*", str(caught.value))
        assert found
        assert Scenario.parse(found[0]) == scenario

    @settings(max_examples=20)
    @given(scenario=scenarios(["additive", "plaintext"], crashed=0, byzantine=0))
    def test_without_faults_sums_are_exact(self, scenario: Scenario) -> None:
        check_scenario(scenario, lambda outcome: outcome.kind == "exact")
        check_conditions(scenario)


ORIGINAL_ZERO_SHARES = zero_sharing.ZeroShares.__init__


def planted_sign(self: zero_sharing.ZeroShares, rank: int, streams: dict[int, SecretStreams]) -> None:
    """ZeroShares whose member 1 takes member 0 for a higher rank, so that both add their mask."""
    ORIGINAL_ZERO_SHARES(self, rank, {1.5 if (rank, peer) == (1, 0) else peer: streams[peer] for peer in streams})


class TestShrinking:
    """A failing scenario becomes the smallest one that fails, for the right reason."""

    SETTINGS = settings(max_examples=300, derandomize=True, database=None, deadline=None)

    def smallest(self, strategy: st.SearchStrategy[Scenario], fails) -> Scenario:
        found = find(strategy, fails, settings=self.SETTINGS)
        assert not fails(replace(found, placement=Placement())) or not found.placement.faults
        return found

    def test_a_wrong_mask_sign_of_one_pair_shrinks_to_that_pair_without_faults(self) -> None:
        with mock.patch.object(zero_sharing.ZeroShares, "__init__", planted_sign):
            found = self.smallest(
                scenarios(["additive"], byzantine=2, crashed=2, max_parties=6), lambda each: each.run().kind == "wrong"
            )
        assert (found.parties, found.clusters, found.coordinates, found.rounds) == (2, 1, 1, 1)
        assert found.placement == Placement()
        assert (found.words_seed, found.schedule) == (0, 0)
        assert found.run().kind == "exact"  # it was the planted bug

    def test_a_change_of_one_word_shrinks_to_one_fault_in_one_cluster(self) -> None:
        found = self.smallest(
            scenarios(["plaintext"], byzantine=2, crashed=1, max_parties=5, faults=["Tamper", "Crash"]),
            lambda each: each.run().kind == "wrong",
        )
        assert (found.clusters, found.coordinates, found.rounds) == (1, 1, 1)
        assert found.parties <= 2
        ((rank, fault),) = found.placement.faults
        assert rank < found.parties
        assert fault == Tamper(step=fault.step, delta=1)

    def test_equivocation_that_is_noticed_shrinks_to_one_lie_and_one_liar(self) -> None:
        found = self.smallest(
            scenarios(["additive"], byzantine=2, crashed=0, max_parties=5, faults=["Equivocate"]),
            lambda each: each.run().kind == "OutOfStepError",
        )
        ((_, fault),) = found.placement.faults
        assert isinstance(fault, Equivocate)
        assert (fault.delta, len(fault.to)) == (1, 1)
        assert found.parties == 2


class TestRandomScenarios:
    """The fuzzer behind the command line."""

    def test_a_number_gives_one_scenario_and_numbers_give_many(self) -> None:
        drawn = [random_scenario(seed) for seed in range(200)]
        assert drawn == [random_scenario(seed) for seed in range(200)]
        assert len({each.line() for each in drawn}) == 200
        assert {each.protocol.name for each in drawn} == set(secure_sums.entries())
        assert {type(fault) for each in drawn for _, fault in each.placement.faults} == set(FAULTS.values())
        assert {each.parties for each in drawn} == set(range(1, 9))
        assert any(each.placement.board_fails for each in drawn)
        assert all(Scenario.parse(each.line()) == each for each in drawn)

    def test_only_protocols_that_fit_the_size_are_drawn(self) -> None:
        for seed in range(100):
            drawn = random_scenario(seed)
            plugin = secure_sums.make(drawn.protocol)
            assert refusal(lambda plugin=plugin, c=drawn.parties: plugin.check_size(parties=c)) is None

    def test_its_rate_is_of_processor_time_and_its_failures_carry_lines(self) -> None:
        a_minute, failures = throughput(5)
        assert a_minute > 0
        assert failures == []
        with mock.patch.object(module, "contradiction", return_value="planted"):
            _, failures = throughput(3, seed=7)
        assert [Scenario.parse(text.splitlines()[-1]) for text in failures] == [random_scenario(s) for s in (7, 8, 9)]

    def test_the_command_replays_a_line_and_says_whether_it_may_be(self, capsys: pytest.CaptureFixture[str]) -> None:
        scenario = scenario_of("additive", 3, (1, Crash(step=0)))
        assert main([scenario.line()]) == 0
        assert str(scenario.run()) in capsys.readouterr().out
        assert main(scenario.line().split(" ")) == 0
        with mock.patch.object(module, "contradiction", return_value="planted"):
            assert main([scenario.line()]) == 1
        assert "contradiction: planted" in capsys.readouterr().out

    def test_the_command_runs_from_a_shell(self) -> None:
        command = [sys.executable, "-m", "protocols.testing.scenarios", scenario_of("plaintext", 2).line()]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert "kind='exact'" in done.stdout

    def test_the_command_counts(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["--count", "2", "--seed", "5"]) == 0
        assert "0 of 2 wrong" in capsys.readouterr().out


def test_an_outcome_is_frozen() -> None:
    with pytest.raises(AttributeError):
        Outcome(kind="exact").kind = "wrong"
