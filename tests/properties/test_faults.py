"""What faulty parties can do to a secure sum, and what its threat model says that they can."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.faults import Crash, Duplicate, Fault, Garbage, Mute, Replay, Tamper, Truncate
from protocols.in_process import InProcessParties
from protocols.network import NetworkError, OutOfStepError, PartyCrashedError, PartyTimeoutError
from protocols.secure_sum import secure_sums

PROTOCOLS = sorted(secure_sums.entries())
# Only a silent peer makes anybody wait so long.
DEADLINE_S = 0.3
SCATTER, GATHER = 0, 1  # the two exchanges of `additive`
WORDS = torch.arange(2 * 4 * 8, dtype=torch.int64).view(2, 4, 8)
SUMS = WORDS.sum(dim=1)


def outcome(name: str, faults: dict[int, Fault], words: torch.Tensor = WORDS) -> str:
    """ "exact", "wrong", or the name of the typed error."""
    parties = InProcessParties(words.shape[1], deadline_s=DEADLINE_S, faults=faults)
    try:
        sums = parties.open_sums(secure_sums.resolve(name), words).sums
    except NetworkError as error:
        return type(error).__name__
    return "exact" if torch.equal(sums, words.sum(dim=1)) else "wrong"


def faults_of(step: st.SearchStrategy[int]) -> st.SearchStrategy[Fault]:
    plain = st.sampled_from([Crash, Mute, Duplicate, Replay, Truncate, Garbage])
    tamper = st.builds(Tamper, step=step, delta=st.integers(1, 2**62), to=st.one_of(st.none(), st.integers(0, 3)))
    return st.one_of(plain.flatmap(lambda kind: st.builds(kind, step=step)), tamper)


@pytest.mark.parametrize("name", PROTOCOLS)
@settings(max_examples=40)
@given(
    faults=st.dictionaries(st.integers(0, 3), faults_of(st.integers(0, 4)), max_size=3),
    members=st.integers(2, 4),
)
def test_whatever_faulty_parties_send_a_sum_ends_with_sums_or_a_typed_error(
    name: str, faults: dict[int, Fault], members: int
) -> None:
    words = WORDS[:, :members]
    present = {rank: fault for rank, fault in faults.items() if rank < members}
    ended = outcome(name, present, words)
    assert ended in {"exact", "wrong", "PartyCrashedError", "PartyTimeoutError", "OutOfStepError"}
    if not present:
        assert ended == "exact"
    if ended == "wrong":
        # Only whoever sends other words can change a sum unseen; the threat models say so.
        assert any(isinstance(fault, Tamper | Replay) for fault in present.values())


@pytest.mark.parametrize("rank", range(4))
@pytest.mark.parametrize("step", [SCATTER, GATHER])
class TestAdditive:
    """Every place where one party of four can fail."""

    def test_a_crash_is_named_at_once(self, rank: int, step: int) -> None:
        assert outcome("additive", {rank: Crash(step=step)}) == "PartyCrashedError"

    def test_silence_ends_at_the_deadline(self, rank: int, step: int) -> None:
        assert outcome("additive", {rank: Mute(step=step)}) in {"PartyTimeoutError", "OutOfStepError"}

    def test_a_message_of_the_wrong_length_is_refused(self, rank: int, step: int) -> None:
        for fault in (Truncate(step=step), Garbage(step=step)):
            assert outcome("additive", {rank: fault}) == "OutOfStepError"

    def test_other_words_to_one_party_alone_are_noticed_when_they_open_other_sums(self, rank: int, step: int) -> None:
        """In the second exchange: whoever was lied to publishes another digest (or other sums, if it is party 0)."""
        victim = (rank + 1) % 4
        ended = outcome("additive", {rank: Tamper(step=step, delta=5, to=victim)})
        assert ended == ("wrong" if step == SCATTER else "OutOfStepError")

    def test_other_words_in_the_shares_change_the_sum_unseen_as_documented(self, rank: int, step: int) -> None:
        """The expected violation of a protocol without authentication: the shift is what the tamperer chose."""
        parties = InProcessParties(4, deadline_s=DEADLINE_S, faults={rank: Tamper(step=SCATTER, delta=1000)})
        sums = parties.open_sums(secure_sums.resolve("additive"), WORDS).sums
        shift = sums - SUMS
        own = torch.zeros(8, dtype=torch.bool)
        own[2 * rank : 2 * rank + 2] = True  # the part that the tamperer itself collects stays as it was
        assert bool((shift[:, own] == 0).all())
        assert bool((shift[:, ~own] == 1000).all())


def test_a_second_copy_is_refused_as_out_of_step_or_never_read() -> None:
    assert outcome("additive", {1: Duplicate(step=SCATTER)}) == "OutOfStepError"
    assert outcome("additive", {1: Duplicate(step=GATHER)}) == "exact"


@pytest.mark.parametrize(
    ("fault", "error"),
    [(Crash(step=0), PartyCrashedError), (Mute(step=0), PartyTimeoutError), (Garbage(step=0), OutOfStepError)],
)
def test_after_a_failure_the_parties_start_again_with_new_links_and_keys(
    fault: Fault, error: type[NetworkError]
) -> None:
    faults: dict[int, Fault] = {2: fault}
    parties = InProcessParties(4, deadline_s=DEADLINE_S, faults=faults)
    with pytest.raises(error):
        parties.open_sums(secure_sums.resolve("additive"), WORDS)
    faults.clear()
    assert torch.equal(parties.open_sums(secure_sums.resolve("additive"), WORDS).sums, SUMS)
