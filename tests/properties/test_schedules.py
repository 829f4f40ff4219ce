"""Every order of arrivals in small clusters (I34), and bugs that only some of them show."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch

from protocols.faults import Crash, Delay, Mute, Tamper
from protocols.network import CheatingDetectedError, NetworkError, OutOfStepError
from protocols.secure_sum import Board, Opened, Party, secure_sums
from protocols.secure_sum._publish import publish
from protocols.secure_sum.plaintext import Plaintext
from protocols.testing import scenarios, suite
from protocols.testing.arrivals import Order, _OrderedHub
from protocols.testing.invariants import PROTOCOL, Violation, effort_named
from protocols.testing.invariants.campaign import forget
from protocols.testing.invariants.runs import observe, scenario_of, tolerates
from protocols.testing.invariants.schedules import end_in_every_order, explore_scenario, faults_at_every_message
from protocols.testing.scenarios import Scenario
from protocols.testing.suite import examine

EFFORT = effort_named("dev")
ENDS = next(each for each in PROTOCOL if each.number == 34)
Place = Callable[[_OrderedHub, int, int], int | None]
RIGHT = _OrderedHub._place


def senders_at(hub: _OrderedHub, receiver: int) -> list[int]:
    return [each.sender for each in hub._arrived[receiver]]


def in_order_of_arrival(self: _OrderedHub, receiver: int, sender: int) -> int | None:
    """The next message is the first that came, whoever was asked for."""
    return 0 if self._arrived[receiver] else None


def only_at_the_head(self: _OrderedHub, receiver: int, sender: int) -> int | None:
    """A message behind another sender's is not found: who waits for A while B's has come first waits for ever."""
    return 0 if senders_at(self, receiver)[:1] == [sender] else None


def stuck_in_one_order(self: _OrderedHub, receiver: int, sender: int) -> int | None:
    """Nothing is found any more where the messages of 5, 4, 3, 2, 1 have come in this order: one of 120."""
    return None if senders_at(self, receiver) == [5, 4, 3, 2, 1] else RIGHT(self, receiver, sender)


def one_end_is_all(self: _OrderedHub, receiver: int, sender: int) -> int | None:
    """The end of one connection is taken for the end of all: what comes after it is lost."""
    place = RIGHT(self, receiver, sender)
    end = next((n for n, each in enumerate(self._arrived[receiver]) if each.message is None), None)
    return place if end is None or (place is not None and place < end) else end


def choices_of(places: list[int]) -> list[int]:
    """The choices with which messages, all on their way at once, arrive in this order of their places."""
    return [sorted(places[n:]).index(place) for n, place in enumerate(places)]


def planted(place: Place) -> Any:
    return mock.patch.object(_OrderedHub, "_place", place)


def scenario(name: Any, parties: int, **given: Any) -> Scenario:
    return scenario_of(secure_sums.resolve(name), parties, **given)


class TestSmallClusters:
    @pytest.mark.parametrize("name", ["additive_stock", "masked", "authenticated"])
    def test_of_2_and_3_members_end_alike_in_every_order_of_arrivals(self, name: str) -> None:
        cases, text = end_in_every_order(secure_sums.resolve(name), replace(EFFORT, failing=1))
        assert text.startswith(f"exhaustive: {cases - 1} schedules of clusters of 2 and 3; ")
        assert "cut" not in text
        assert "not exhaustive" not in text

    def test_are_the_smallest_where_a_protocol_needs_more_members(self) -> None:
        text = end_in_every_order(secure_sums.resolve("shamir"), replace(EFFORT, schedules=2, failing=1))[1]
        assert text.startswith("cut: 2 schedules of clusters of 4; one fault in 1 of ")

    def test_are_said_to_be_cut_where_the_bound_cuts_them(self) -> None:
        cases, text = end_in_every_order(secure_sums.resolve("additive"), replace(EFFORT, schedules=6, failing=2))
        assert cases == 5 + 6 + 2
        assert text.startswith("exhaustive: 5 schedules of clusters of 2; cut: 6 schedules of clusters of 3; ")
        assert text.endswith("places: 2 schedules, exhaustive in 0")

    def test_are_what_the_report_says_of_termination(self) -> None:
        found = examine(secure_sums.resolve("plaintext"), ENDS, EFFORT)
        assert found.status == "holds"
        assert found.text.startswith("exhaustive: 8 schedules of clusters of 2 and 3; one fault in ")
        assert found.text.endswith("every kind of fault and random arrivals; no party made more than 2 exchanges")

    def test_whose_runs_differ_are_not_exhausted_although_all_their_sums_are_right(self) -> None:
        """Rank 0 adds what the others send: from whom it reads it first changes no sum."""
        with planted(in_order_of_arrival):
            text = end_in_every_order(secure_sums.resolve("plaintext"), EFFORT)[1]
        assert "not exhaustive, as runs differ: 5 schedules of clusters of 3; " in text


class TestPlantedBugs:
    @pytest.mark.parametrize("place", [in_order_of_arrival, only_at_the_head])
    @pytest.mark.parametrize(("name", "parties"), [("additive", 2), ("masked", 3), ("authenticated", 2)])
    def test_a_link_that_minds_the_order_of_arrival_is_found(self, name: str, parties: int, place: Place) -> None:
        with planted(place), pytest.raises(Violation, match="in one order of arrivals"):
            explore_scenario(scenario(name, parties), most=EFFORT.schedules)

    def test_what_is_found_is_one_line_that_shows_it_again(self, capsys: pytest.CaptureFixture[str]) -> None:
        with planted(only_at_the_head):
            found = examine(secure_sums.resolve("additive"), ENDS, EFFORT)
            assert found.status == "violated"
            assert "PartyTimeoutError although (0, 0, 0) of 2 may fail" in found.text
            assert "\n" not in found.replay
            assert Scenario.parse(found.replay).order
            assert scenarios.main([found.replay]) == 1
            assert "contradiction: PartyTimeoutError" in capsys.readouterr().out
            assert suite.main([found.replay]) == 0
            assert "PartyTimeoutError" in capsys.readouterr().out
        assert scenarios.main([found.replay]) == 0

    def test_one_order_of_120_is_found_for_sure_and_missed_by_as_many_random_ones(self) -> None:
        """Random orders miss it with the probability (119/120)^runs, about a half: this seed is of that half."""
        six = scenario("plaintext", 6)
        runs = explore_scenario(six, most=EFFORT.schedules).schedules
        stream = np.random.default_rng(1)
        with planted(stuck_in_one_order):
            ends = [observe(six, order=Order(choices_of(stream.permutation(5).tolist()))).kind for _ in range(runs)]
            with pytest.raises(Violation, match="PartyTimeoutError"):
                explore_scenario(six, most=runs)
            assert not observe(six, order=Order(choices_of([4, 3, 2, 1, 0]))).opened
        assert set(ends) == {"opened"}

    def test_an_end_that_comes_before_other_messages_is_tried_where_a_crash_is_tolerated(self) -> None:
        crash = scenario({"name": "shamir", "mode": "passive"}, 4, faults=[(3, Crash(step=1))])
        assert tolerates(crash.protocol, 4, 0, 1)[1]
        assert explore_scenario(crash, most=600).exhaustive
        with planted(one_end_is_all):
            assert observe(crash).opened
            with pytest.raises(Violation, match="although \\(0, 1, 0\\) of 4 may fail"):
                explore_scenario(crash, most=600)

    def test_a_wrong_sum_is_found(self) -> None:
        original = Plaintext.collect

        def planted_sum(self: Plaintext, board: Board) -> Opened:
            opened = original(self, board)
            return replace(opened, sums=opened.sums + 1)

        with (
            mock.patch.object(Plaintext, "collect", planted_sum),
            pytest.raises(Violation, match="the sums of \\(0, 1\\) are off"),
        ):
            explore_scenario(scenario("plaintext", 2), most=9)

    def test_a_sum_that_is_another_one_in_another_order_is_found_although_a_liar_may_choose_it(self) -> None:
        original = Plaintext.contribute

        def favours_the_first(self: Plaintext, party: Party, words: torch.Tensor) -> None:
            if party.rank:
                return original(self, party, words)
            received = {peer: torch.empty_like(words) for peer in party.peers}
            party.link.exchange({}, received)
            return publish(party, self.ring.wrap(words + 2 * received[1] + received[2]), vouching=False)

        lie = scenario("plaintext", 3, faults=[(1, Tamper(step=0, delta=5))])
        with mock.patch.object(Plaintext, "contribute", favours_the_first):
            explore_scenario(lie, most=EFFORT.schedules)
            with planted(in_order_of_arrival), pytest.raises(Violation, match="open another sum than"):
                explore_scenario(lie, most=EFFORT.schedules)

    def test_sums_that_differ_by_randomness_of_the_protocol_s_own_are_none(self) -> None:
        lie = scenario("additive_stock", 3, faults=[(0, Tamper(step=0, delta=5))])
        first, again = (observe(lie, order=Order()) for _ in range(2))
        assert first.offset is not None
        assert again.offset is not None
        assert not torch.equal(first.offset, again.offset)
        assert explore_scenario(lie, most=EFFORT.schedules, contents=False).exhaustive

    @pytest.mark.parametrize(
        ("error", "faults", "said"),
        [
            (OutOfStepError, [], r"members end with \{2: 'OutOfStepError'\} although nobody is faulty"),
            (CheatingDetectedError, [(1, Tamper(step=0, delta=5))], r"although \[2\] ended by finding that somebody"),
        ],
    )
    def test_a_member_that_fails_although_the_sum_is_opened_is_found(
        self, error: type[NetworkError], faults: list[Any], said: str
    ) -> None:
        original = Plaintext.contribute

        def fails(self: Plaintext, party: Party, words: torch.Tensor) -> None:
            original(self, party, words)
            if party.rank == 2:
                raise error("it has had enough")

        with mock.patch.object(Plaintext, "contribute", fails), pytest.raises(Violation, match=said):
            explore_scenario(scenario("plaintext", 3, faults=faults), most=9)

    def test_a_run_of_far_too_many_exchanges_is_found(self) -> None:
        original = Plaintext.contribute
        forget()
        explore_scenario(scenario("plaintext", 2), most=9)  # counts the exchanges of correct runs

        def busy(self: Plaintext, party: Party, words: torch.Tensor) -> None:
            for _ in range(100):
                party.link.try_exchange({}, {})
            original(self, party, words)

        with mock.patch.object(Plaintext, "contribute", busy), pytest.raises(Violation, match="exchanges; allowed: 30"):
            explore_scenario(scenario("plaintext", 2), most=9)


def test_one_fault_is_a_crash_before_each_message_and_silence_delay_and_a_lie_in_each_exchange() -> None:
    placed = faults_at_every_message(secure_sums.resolve("plaintext"), 3)
    sending = [Crash(step=0), Mute(step=0), Delay(step=0, seconds=1e6), Tamper(step=0, delta=5)]
    publishing = [Crash(step=1), Mute(step=1), Delay(step=1, seconds=1e6), Tamper(step=1, delta=5)]
    assert [fault for rank, fault in placed if rank == 0] == [Crash(step=0), *publishing]
    for member in (1, 2):
        assert [fault for rank, fault in placed if rank == member] == sending
    additive = [fault for rank, fault in faults_at_every_message(secure_sums.resolve("additive"), 3) if rank == 1]
    assert {Crash(step=0), Crash(step=0, after=1)} < set(additive)
