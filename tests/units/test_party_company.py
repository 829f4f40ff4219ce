"""Members who misbehave in party processes: the same sums, names and bytes as among threads, or the same failure.

The members of a batch that must not wait for anybody wait for up to a minute; who is silent or late makes the others
wait for ten seconds. Both are long beside what a loaded machine takes, and no test asserts how long anything took.
"""

import dataclasses
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar
from unittest import mock

import numpy as np
import pytest
import torch

from protocols import faults
from protocols.check import CloisterError
from protocols.fault_values import fault_of, values_of
from protocols.faults import (
    Combined,
    Crash,
    Delay,
    Duplicate,
    Equivocate,
    Fault,
    Garbage,
    Mute,
    Replay,
    Tamper,
    Truncate,
    WrongCluster,
    WrongDtype,
)
from protocols.in_process import InProcessParties
from protocols.network import BOARD, NetworkError
from protocols.parties import Parties
from protocols.party_batch import PartyBatch
from protocols.party_pool import PartyPool
from protocols.secure_sum import secure_sums

LONG_S = 60.0
WAIT_S = 10.0
WORDS = torch.arange(2 * 3 * 5, dtype=torch.int64).view(2, 3, 5)
OTHER = torch.flip(WORDS, dims=(2,))
# Where nothing is checked, and where cheats are named; the words of neither depend on secret randomness.
PROTOCOLS = ("plaintext", "authenticated")
AT_ONCE: dict[str, Fault] = {
    "tamper": Tamper(step=0, delta=7),
    "tamper_one": Tamper(step=0, delta=-(2**63), to=0, word=-1),
    "equivocate": Equivocate(step=0, delta=5, to=frozenset({0, 2})),
    "truncate": Truncate(step=0),
    "garbage": Garbage(step=0),
    "garbage_of_the_right_length": Garbage(step=0, excess_bytes=0),
    "wrong_dtype": WrongDtype(step=0),
    "half_as_wide": WrongDtype(step=0, width="half"),
    "duplicate": Duplicate(step=0),
    "replay": Replay(step=0, batches_back=1),
    "replay_the_last_exchange": Replay(step=1),
    "wrong_cluster": WrongCluster(step=0, clusters=2),
    "in_time": Delay(step=0, seconds=0.01),
    "combined": Combined(faults=(Tamper(step=0, delta=3), Duplicate(step=0), Crash(step=1))),
}
WAITING: dict[str, Fault] = {"mute": Mute(step=0), "delay": Delay(step=0, seconds=1.5 * WAIT_S)}


@pytest.fixture(scope="module")
def trio() -> Iterator[PartyPool]:
    """Three party processes."""
    with PartyPool(3, deadline_s=LONG_S) as pool:
        yield pool


def outcome(parties: Parties, protocol: str, number: int, fault: Fault | None, words: torch.Tensor = WORDS) -> object:
    """What a batch opens and costs, or how it fails, whom that names and what was sent for it."""
    misconduct = {} if fault is None else {1: fault}
    try:
        found = parties.open_sums(secure_sums.resolve(protocol), words, number=number, faults=misconduct)
    except NetworkError as error:
        return type(error), getattr(error, "suspects", None), parties.spent
    return found.sums.tolist(), found.contributors, found.suspects, found.traffic


def threads(deadline_s: float = LONG_S) -> InProcessParties:
    return InProcessParties(3, deadline_s=deadline_s, faults={}, clean_links=True)


def outcomes(parties: Parties, protocol: str, fault: Fault) -> list[object]:
    """Of two batches with the fault, the second of which it may fill with messages of the first, and one without."""
    return [
        outcome(parties, protocol, 1, fault),
        outcome(parties, protocol, 2, fault, OTHER),
        outcome(parties, protocol, 3, None),
    ]


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("kind", AT_ONCE)
def test_a_party_process_misbehaves_as_a_thread_does(trio: PartyPool, protocol: str, kind: str) -> None:
    fault = AT_ONCE[kind]
    found = outcomes(trio.company(), protocol, fault)
    assert found == outcomes(threads(), protocol, fault)
    assert found[2] == outcome(threads(), protocol, 1, None)
    honest = [outcome(threads(), protocol, 1, None), outcome(threads(), protocol, 1, None, OTHER)]
    acts = kind != "in_time" and not (kind == "replay_the_last_exchange" and protocol == "plaintext")
    assert (found[:2] != honest) == acts  # and plaintext has one exchange only


def test_who_is_silent_or_late_is_waited_for_and_lost_as_among_threads() -> None:
    """The pools wait side by side; virtual time takes none."""
    cases = [(protocol, kind) for protocol in PROTOCOLS for kind in WAITING]

    def over_tcp(case: tuple[str, str]) -> object:
        with PartyPool(3, deadline_s=WAIT_S) as pool:
            return outcome(pool.company(), case[0], 1, WAITING[case[1]]), outcome(pool.company(), case[0], 2, None)

    with ThreadPoolExecutor(len(cases)) as pools:
        found = dict(zip(cases, pools.map(over_tcp, cases), strict=True))
    for protocol, kind in cases:
        company = threads(WAIT_S)
        expected = outcome(company, protocol, 1, WAITING[kind]), outcome(company, protocol, 2, None)
        assert found[protocol, kind] == expected
        assert expected[0] != expected[1]


def test_a_fault_that_does_not_reach_the_party_is_seen(trio: PartyPool) -> None:
    with mock.patch("protocols.party_batch.values_of", return_value=None):
        found = outcome(trio.company(), "plaintext", 1, AT_ONCE["tamper"])
    assert found == outcome(threads(), "plaintext", 1, None) != outcome(threads(), "plaintext", 1, AT_ONCE["tamper"])


def test_each_company_remembers_what_its_members_sent_and_nothing_of_others(trio: PartyPool) -> None:
    replay = Replay(step=0, batches_back=1)
    first, second = trio.company(), trio.company()
    honest = outcome(threads(), "plaintext", 1, None, OTHER)
    outcome(first, "plaintext", 1, replay)
    assert outcome(second, "plaintext", 2, replay, OTHER) == honest
    assert outcome(first, "plaintext", 3, replay, OTHER) != honest


def test_members_forget_where_a_batch_has_failed_and_where_their_company_is_given_up(trio: PartyPool) -> None:
    """A replay then has nothing to replay, as among threads."""
    replay, truncate = Replay(step=0, batches_back=1), Truncate(step=0)
    honest = outcome(threads(), "plaintext", 1, None, OTHER)
    company, other = trio.company(), threads()
    for parties in (company, other):
        outcome(parties, "plaintext", 1, replay)
        assert isinstance(outcome(parties, "plaintext", 2, truncate), tuple)
        assert outcome(parties, "plaintext", 3, replay, OTHER) == honest
    gone = trio.company()
    outcome(gone, "plaintext", 4, replay)
    (memory,) = {gone._memory}
    del gone
    assert memory in trio._forgotten
    assert outcome(trio, "plaintext", 5, None) == outcome(threads(), "plaintext", 1, None)
    assert not trio._forgotten


def test_what_is_left_unread_is_gone_before_the_next_batch_and_the_keys_stay(trio: PartyPool) -> None:
    """Without new links, the copy of a message would be taken for the next batch's: the planted bug."""
    words = outcome(threads(), "plaintext", 1, None, OTHER)
    before = trio.pids
    assert outcome(trio, "plaintext", 1, Duplicate(step=0)) == outcome(threads(), "plaintext", 1, Duplicate(step=0))
    with mock.patch.object(PartyPool, "_renew_keys", side_effect=AssertionError("new keys")):
        assert outcome(trio, "plaintext", 2, None, OTHER) == words
    with mock.patch.object(PartyBatch, "misbehaves", False):
        outcome(trio, "plaintext", 3, Duplicate(step=0))
        assert outcome(trio, "plaintext", 4, None, OTHER) != words
    trio.stop()
    assert len(before) == 3


def test_threads_that_keep_their_links_read_what_was_left(trio: PartyPool) -> None:
    """Property tests want them so: a protocol must survive it. Only clean links are as those of processes."""
    kept = InProcessParties(3, faults={})
    outcome(kept, "plaintext", 1, Duplicate(step=0))
    outcome(trio, "plaintext", 1, Duplicate(step=0))
    assert outcome(kept, "plaintext", 2, None, OTHER) != outcome(trio, "plaintext", 2, None, OTHER)


def test_every_kind_of_fault_comes_back_from_json_as_it_was() -> None:
    every = [*AT_ONCE.values(), *WAITING.values(), Crash(step=1, after=0), Mute(step=2, to=BOARD)]
    nested = Combined(faults=(Combined(faults=(AT_ONCE["equivocate"],)), *every))
    kinds = {kind for name in faults.__all__ if hasattr(kind := getattr(faults, name), "kind")} - {Fault}
    assert {type(fault) for fault in every} == kinds
    drawn = Equivocate(step=0, delta=np.int64(5), to=frozenset({np.int64(2)}))  # as an attack may draw them
    for fault in (*every, nested, drawn):
        assert fault_of(json.loads(json.dumps(values_of(fault)))) == fault


@dataclasses.dataclass(frozen=True, kw_only=True)
class Strange:
    """A fault of somebody else's."""

    kind: ClassVar[Any] = "byzantine"
    step: int = 0

    def __call__(self, step: int, outgoing: Any, batches: Any) -> list[Any]:
        return [outgoing]


@pytest.mark.parametrize(
    ("slot", "fault", "text"),
    [
        (1, Strange(), r"Strange\(step=0\) is of a kind .* allowed: Combined, Crash, .* threads"),
        (1, Combined(faults=(Strange(),)), "is of a kind"),
        (BOARD, Mute(step=0), r"Mute\(step=0, to=None\) of party -1 .* allowed: faults of parties 0 to 2"),
        (3, Mute(step=0), "of party 3"),
    ],
)
def test_faults_that_no_process_can_have_are_refused_before_any_is_disturbed(
    trio: PartyPool, slot: int, fault: Fault, text: str
) -> None:
    outcome(trio, "plaintext", 1, None)
    before = trio._board
    with pytest.raises(CloisterError, match=text):
        trio.open_sums(secure_sums.resolve("plaintext"), WORDS, faults={slot: fault})
    assert trio._board is before
