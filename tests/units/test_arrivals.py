"""Orders of arrival: each list of choices is a schedule, and all are explored, or it is said that they are not."""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from math import comb, factorial
from typing import Any
from unittest import mock

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.check import CloisterError
from protocols.in_process_link import InProcessLink
from protocols.network import NetworkError, PartyCrashedError, PartyTimeoutError
from protocols.testing.arrivals import EVERYBODY, Order, _OrderedHub, order_of
from protocols.testing.exploration import Exploration, explore

Work = Callable[[InProcessLink], Any]
YEAR_S = 3.2e7


def play(works: Mapping[int, Work], order: Order) -> dict[int, Any]:
    """Run one work a rank, and nobody else; what it returns, or the error of the network in which it ends."""
    links = [link for link in order.links(max(works) + 1, YEAR_S) if link.rank in works]
    links[0].run(set(works))

    def alone(link: InProcessLink) -> Any:
        with link.turn():
            try:
                result = works[link.rank](link)
            except NetworkError as error:
                link.close()
                return error
            link.finish()
            return result

    with ThreadPoolExecutor(len(works)) as threads:
        return {link.rank: result for link, result in zip(links, threads.map(alone, links), strict=True)}


def sends(to: int, *values: int) -> Work:
    def work(link: InProcessLink) -> None:
        for value in values:
            link.exchange({to: torch.tensor([value])}, {})

    return work


def reads(*senders: int) -> Work:
    def work(link: InProcessLink) -> list[int]:
        return [read_one(link, sender) for sender in senders]

    return work


def read_one(link: InProcessLink, sender: int) -> int:
    into = torch.tensor([-1])
    link.exchange({}, {sender: into})
    return int(into)


def in_turn(messages: list[tuple[int, int]]) -> dict[int, Work]:
    """Parties that send and read these messages (sender, receiver) in this order, each its own."""

    def party(rank: int) -> Work:
        def work(link: InProcessLink) -> list[int]:
            got: list[int] = []
            for number, (sender, receiver) in enumerate(messages):
                if rank == sender:
                    link.exchange({receiver: torch.tensor([number])}, {})
                elif rank == receiver:
                    got.append(read_one(link, sender))
            return got

        return work

    return {rank: party(rank) for rank in sorted({rank for message in messages for rank in message})}


def explored(works: Mapping[int, Work], *, most: int = 10**4, reduced: bool = True) -> tuple[Exploration, list[Any]]:
    ends: list[Any] = []
    found = explore(lambda order: ends.append(play(works, order)), parties=works, most=most, reduced=reduced)
    return found, ends


def first_come(self: _OrderedHub, receiver: int, sender: int) -> int | None:
    """A planted bug: whoever wants to read gets what came first, from whomever."""
    return 0 if self._arrived[receiver] else None


class TestOrder:
    def test_the_choices_of_a_run_give_the_same_run_again(self) -> None:
        works = {0: sends(2, 1, 2), 1: sends(2, 3, 4), 2: reads(1, 0, 0, 1)}
        once = Order([1, 0, 1])
        assert play(works, once)[2] == [3, 1, 2, 4]
        again = Order(once.taken)
        play(works, again)
        assert (again.read, again.points) == (once.read, once.points)
        assert once.taken == (1, 0, 1)
        assert Order().taken == ()

    @given(choices=st.lists(st.integers(0, 9), max_size=8))
    @settings(max_examples=20)
    def test_every_list_of_choices_is_a_schedule_and_messages_of_one_sender_keep_their_order(
        self, choices: list[int]
    ) -> None:
        works = {0: sends(2, 1, 2), 1: sends(2, 3, 4), 2: reads(1, 0, 0, 1)}
        assert play(works, Order(choices))[2] == [3, 1, 2, 4]

    def test_what_comes_first_depends_on_the_choices(self) -> None:
        works = {0: sends(2, 7), 1: sends(2, 8), 2: reads(0, 1)}
        with mock.patch.object(_OrderedHub, "_place", first_come):
            assert [play(works, Order([choice]))[2] for choice in (0, 1, 9)] == [[7, 8], [8, 7], [8, 7]]

    def test_a_deadline_passes_only_when_nothing_is_on_its_way(self) -> None:
        works = {0: sends(2, 7), 1: sends(2), 2: reads(0, 1)}
        for choices in ((0,), (1,), (1, 1)):
            ended = play(works, Order(choices))[2]
            assert isinstance(ended, PartyTimeoutError)
            assert "party 1" in str(ended)

    def test_a_closed_connection_is_found_after_what_was_sent_over_it(self) -> None:
        def crashes(link: InProcessLink) -> None:
            link.exchange({1: torch.tensor([5])}, {})
            raise PartyCrashedError("gone")

        got: list[int] = []

        def hears(link: InProcessLink) -> None:
            got.append(read_one(link, 0))
            read_one(link, 0)

        ended = play({0: crashes, 1: hears}, Order())[1]
        assert got == [5]
        assert isinstance(ended, PartyCrashedError)
        assert "party 0 closed its connection" in str(ended)

    def test_the_contents_of_messages_count_where_they_repeat(self) -> None:
        def read_of(value: int, *, contents: bool) -> tuple[bytes, ...]:
            order = Order(contents=contents)
            play({0: sends(1, value), 1: reads(0)}, order)
            return order.read

        assert read_of(1, contents=True) != read_of(2, contents=True)
        assert read_of(1, contents=False) == read_of(2, contents=False)

    @pytest.mark.parametrize("given", ["01", 3, [1, -1], [0.5], [True], {}])
    def test_what_is_no_list_of_choices_is_refused(self, given: object) -> None:
        with pytest.raises(CloisterError, match=r"order = .* is not allowed; allowed: a list of integers >= 0"):
            order_of(given)
        assert order_of([0, 2]) == (0, 2)
        assert order_of(None) is None


class TestExplore:
    @pytest.mark.parametrize(("first", "second"), [(1, 1), (2, 1), (2, 2), (3, 2)])
    def test_without_reduction_every_interleaving_of_two_senders_is_one_schedule(self, first: int, second: int) -> None:
        works = {0: sends(2, *range(first)), 1: sends(2, *range(second)), 2: reads(*[0] * first, *[1] * second)}
        found, ends = explored(works, reduced=False)
        assert (found.schedules, found.exhaustive) == (comb(first + second, first), True)
        assert all(end[2] == [*range(first), *range(second)] for end in ends)

    def test_with_reduction_a_few_schedules_have_all_orders_at_each_of_two_receivers(self) -> None:
        senders, receivers = range(3), (3, 4)

        def tells_both(link: InProcessLink) -> None:
            for receiver in receivers:
                link.exchange({receiver: torch.tensor([link.rank])}, {})

        works = {**dict.fromkeys(senders, tells_both), **dict.fromkeys(receivers, reads(*senders))}
        found, _ = explored(works)
        assert found.exhaustive
        assert 4 * found.schedules < explored(works, reduced=False)[0].schedules == factorial(6)
        with mock.patch.object(_OrderedHub, "_place", first_come):  # the orders of its reads are the orders of arrival
            ends = explored(works)[1]
        assert [len({tuple(end[receiver]) for end in ends}) for receiver in receivers] == [factorial(3)] * 2

    def test_a_message_that_overtakes_a_whole_exchange_is_tried(self) -> None:
        """Party 1 has two messages for 2, the second of which it sends after it has heard of 0, whose own is slow."""
        works = in_turn([(0, 2), (0, 1), (1, 2)])
        with mock.patch.object(_OrderedHub, "_place", first_come):
            assert {tuple(end[2]) for end in explored(works)[1]} == {(0, 2), (2, 0)}

    def test_deadlines_that_are_due_together_pass_in_every_order(self) -> None:
        orders: list[tuple[int, ...]] = []

        def run(order: Order) -> None:
            play({0: sends(1), 1: reads(0), 2: reads(0), 3: reads(0)}, order)
            orders.append(order.deadlines)

        assert explore(run, parties=range(4), most=1000).exhaustive
        assert len(set(orders)) == factorial(3)

    def test_a_bound_that_cuts_is_no_exhaustion(self) -> None:
        works = {0: sends(2, 1), 1: sends(2, 2), 2: reads(0, 1)}
        cut, _ = explored(works, most=3)
        assert (cut.schedules, cut.exhaustive) == (3, False)
        assert cut.left
        with pytest.raises(CloisterError, match="most = 0"):
            explored(works, most=0)

    def test_runs_that_differ_are_no_exhaustion(self) -> None:
        works = {0: sends(2, 1), 1: sends(2, 2), 2: reads(0, 1)}
        with mock.patch.object(_OrderedHub, "_place", first_come):
            found, _ = explored(works)
        assert (found.left, found.alike, found.exhaustive) == (0, False, False)

    @given(
        messages=st.lists(
            st.sampled_from([(a, b) for a in range(3) for b in range(3) if a != b]), min_size=1, max_size=5
        )
    )
    @settings(max_examples=25)
    def test_one_receiver_at_a_time_finds_a_difference_exactly_where_all_schedules_have_one(
        self, messages: list[tuple[int, int]]
    ) -> None:
        """Small random programs, on correct links and on links with a bug: at most 5! schedules each."""
        works = in_turn(messages)
        for place in (_OrderedHub._place, first_come):
            with mock.patch.object(_OrderedHub, "_place", place):
                reduced, whole = explored(works)[0], explored(works, reduced=False)[0]
            assert (whole.left, reduced.left) == (0, 0)
            assert reduced.alike == whole.alike
            assert reduced.alike or place is first_come


def test_an_order_with_a_focus_branches_only_where_it_matters() -> None:
    works = {0: sends(2, 1), 1: sends(2, 2), 2: reads(0, 1), 3: sends(2)}
    for focus, branching in ((EVERYBODY, True), (2, True), (1, False)):
        order = Order(focus=focus)
        play(works, order)
        assert any(len(point.branches) > 1 for point in order.points) == branching
