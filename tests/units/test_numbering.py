"""Numbers of batches, and rows that depend on their cell alone: not on processes or threads, nor on what ran before."""

from collections import Counter
from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest

from bench import opening
from bench.data import Dataset
from bench.federation import run_cell
from bench.numbering import batch_number
from protocols.check import CloisterError
from protocols.in_process import InProcessParties
from protocols.parties import Parties
from protocols.party_pool import PartyPool
from protocols.randomness import KeyStream, SecretStreams
from tests.rounds import cell_with

CRASHES = {"n": 15, "cluster_size": 5, "crashed": 2, "f": 2, "attack": {"name": "crash", "step": 1}, "seed": 3}
# Whether all clusters open a sum although members crash before the first exchange and the second one.
OPENS_ALL = {"shamir": True, "committee": True, "masked": False, "masked_graph": False, "additive": False}


def row(parties: Parties, digits: Dataset, protocol: object, **axes: Any) -> dict[str, Any]:
    """What a cell measures, but for how long it took."""
    metrics = run_cell(cell_with(**{**CRASHES, "protocol": protocol, **axes}), digits, parties).metrics
    return {name: value for name, value in metrics.items() if not name.endswith("_s")}


@pytest.mark.parametrize("protocol", OPENS_ALL)
def test_a_cell_with_crashes_has_the_same_row_among_processes_and_threads(
    pool: PartyPool, digits: Dataset, parties: InProcessParties, protocol: str
) -> None:
    """Words, bytes, verdicts, whom it lost: over TCP, on one pool whose processes crash and go on."""
    pool.start()
    pids = pool.pids
    over_tcp = row(pool, digits, protocol)
    assert over_tcp == row(parties, digits, protocol)
    assert (over_tcp["failed_clusters"] == 0) == OPENS_ALL[protocol]
    assert over_tcp["clusters"] > 0
    assert over_tcp["contradicted"] == ""
    assert pool.pids == pids


# What decides who serves is drawn by a batch's number, and of who serves, who crashes decides what opens.
DRAWN = {"name": "committee", "servers": 3, "threshold": "1"}


def test_a_row_does_not_depend_on_what_its_parties_have_run_before(digits: Dataset) -> None:
    first, second = InProcessParties(5), InProcessParties(5)
    row(first, digits, "masked", rounds=1)
    assert row(first, digits, DRAWN, crashed=4) == row(second, digits, DRAWN, crashed=4)


def test_numbers_that_go_on_from_cell_to_cell_are_seen(digits: Dataset) -> None:
    """The planted bug: the parties number their batches themselves."""
    original = InProcessParties.open_sums

    def planted(self: InProcessParties, *given: Any, number: int | None = None, **how: Any) -> Any:
        assert number is not None
        return original(self, *given, **how)

    with mock.patch.object(InProcessParties, "open_sums", planted), pytest.raises(AssertionError, match="assert"):
        test_a_row_does_not_depend_on_what_its_parties_have_run_before(digits)


# ---- numbers


def test_numbers_of_a_cell_differ_and_grow_with_round_then_attempt_then_cluster() -> None:
    places = [(r, a, c) for r in (0, 1, 7) for a in (0, 1) for c in (0, 1, 9)]
    numbers = [batch_number(seed=5, round_index=r, attempt=a, cluster=c) for r, a, c in places]
    assert numbers == sorted(set(numbers))
    assert 0 < min(numbers) < max(numbers) < 2**48


def test_numbers_of_other_seeds_are_others() -> None:
    """Two of four seeds share a number by chance with probability 6 / 4096; these do not."""
    assert len({batch_number(seed=seed, round_index=0, attempt=0, cluster=0) for seed in range(4)}) == 4


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"round_index": 2**18 - 1}, "round = 262144"),
        ({"attempt": 4}, "attempt = 4"),
        ({"cluster": 2**16}, "cluster = 65536 of a secure sum has no number; allowed: 0 to 65535"),
    ],
)
def test_a_place_without_a_number_is_refused(given: dict[str, int], text: str) -> None:
    with pytest.raises(CloisterError, match=text):
        batch_number(**{"seed": 0, "round_index": 0, "attempt": 0, "cluster": 0, **given})


# ---- freshness over the life of a set of parties


def streams_of(run: Callable[[], None]) -> Counter[tuple[bytes, int, int]]:
    """How often each block range (key, use, lane) of a secret stream is drawn, by either end of a pair alike."""
    drawn: Counter[tuple[bytes, int, int]] = Counter()
    original = SecretStreams.claim

    def spying(self: SecretStreams, use: int) -> Callable[[int], KeyStream]:
        lane_of = original(self, use)

        def lane(number: int) -> KeyStream:
            drawn[self._algorithm.key, use, number] += 1  # pyright: ignore[reportAttributeAccessIssue]
            return lane_of(number)

        return lane

    with mock.patch.object(SecretStreams, "claim", spying):
        run()
    return drawn


@pytest.mark.parametrize("protocol", ["additive", {"name": "shamir", "mode": "passive"}])
def test_no_label_of_a_stream_comes_twice_though_numbers_do(digits: Dataset, protocol: object) -> None:
    """One cell on the same parties without, with and without crashes again: each number comes three times.

    A key is held by a pair (`additive`) or by one member (`shamir`).
    """
    parties = InProcessParties(5)

    def thrice() -> None:
        for crashed in (0, 1, 0):
            row(parties, digits, protocol, crashed=crashed, f=0, attack="none")

    drawn = streams_of(thrice)
    assert len(drawn) > 100
    assert max(drawn.values()) <= (2 if protocol == "additive" else 1)


def test_parties_that_keep_their_keys_for_a_number_that_comes_again_are_seen(digits: Dataset) -> None:
    """The streams themselves refuse it: the planted bug is one that forgets what was drawn."""
    parties = InProcessParties(5)
    row(parties, digits, "additive", crashed=0, f=0, attack="none")
    with mock.patch.object(InProcessParties, "_start"), pytest.raises(CloisterError, match="use = "):
        row(parties, digits, "additive", crashed=0, f=0, attack="none")


def test_numbers_are_told_to_whoever_opens(digits: Dataset, parties: InProcessParties) -> None:
    seen: list[int] = []
    original = opening.batch_number

    def spying(**place: int) -> int:
        seen.append(original(**place))
        return seen[-1]

    with mock.patch.object(opening, "batch_number", spying):
        row(parties, digits, "additive", crashed=0, f=0, attack="none", rounds=2)
    assert seen == [batch_number(seed=3, round_index=r, attempt=0, cluster=0) for r in range(2)]
    assert parties.use == seen[-1]
