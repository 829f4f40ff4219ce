"""What each fault does to messages, what faulty parties can do to a secure sum, and what threat models say of it."""

import threading
from collections.abc import Mapping
from unittest import mock

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from protocols.check import CloisterError
from protocols.faults import (
    Combined,
    Crash,
    Delay,
    Duplicate,
    Equivocate,
    Fault,
    FaultyLink,
    Garbage,
    Mute,
    Replay,
    Tamper,
    Truncate,
    WrongCluster,
    WrongDtype,
)
from protocols.in_process import InProcessParties
from protocols.in_process_link import InProcessLink, in_process_links
from protocols.network import BOARD, NetworkError, OutOfStepError, PartyCrashedError, PartyTimeoutError
from protocols.registry import Spec
from protocols.secure_sum import secure_sums
from protocols.testing.invariants.runs import steps_of
from protocols.testing.placements import Placement
from protocols.testing.scenarios import Scenario, fitting_sizes, registered_specs
from protocols.testing.strategies import check_conditions, fault_strategies, scenarios
from tests.examples import examples

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


@pytest.mark.parametrize("name", PROTOCOLS)
@examples(2.5)
@given(data=st.data())
def test_whatever_faulty_parties_send_a_sum_ends_as_the_conditions_allow(name: str, data: st.DataObject) -> None:
    """With sums that only Byzantine members make wrong, or a typed error; never for ever, never with another error."""
    examples = [spec for spec in registered_specs() if spec.name == name]
    scenario = data.draw(scenarios(examples, max_coordinates=3, byzantine=2, crashed=2, board=True))
    ended = check_conditions(scenario)
    if not scenario.placement.faults:
        assert ended.kind == "exact"
        assert ended.contributors == tuple(range(scenario.parties))


@pytest.mark.parametrize("spec", registered_specs(), ids=str)
def test_garbage_of_the_right_length_in_any_exchange_is_no_surprise(spec: Spec) -> None:
    """Every exchange of a member and of the board: the conditions hold, or at least no error is untyped."""
    parties = next(c for c in (5, 8) if c in fitting_sizes(spec, 8))
    for step in range(steps_of(spec, parties)):
        for rank in (1, BOARD):
            fault = Garbage(step=step, seed=step, excess_bytes=0)
            check_conditions(Scenario(protocol=spec, parties=parties, placement=Placement(faults=((rank, fault),))))


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
        """In the second exchange: whoever was lied to vouches for other ones (or other sums, if it is party 0)."""
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


INT64 = torch.tensor([[1, 2, 3], [4, 5, -6]])
UINT8 = torch.tensor([0, 1, 255, 128, 7, 9], dtype=torch.uint8)
EMPTY = {"int64": torch.empty(2, 0, dtype=torch.int64), "uint8": torch.empty(0, dtype=torch.uint8)}
MESSAGES = {"int64": INT64, "uint8": UINT8, **{f"empty {name}": tensor for name, tensor in EMPTY.items()}}


def received(
    fault: Fault | None, exchanges: list[Mapping[int, torch.Tensor]], *, rank: int = 0, batches: int = 1
) -> dict[int, list[bytes | str]]:
    """What the two others (1, BOARD, or 0, 1 if the board is faulty) read in order: bytes, or an error's name.

    The readers take whatever length comes, so that wrong lengths are seen as they are.
    """
    links = {link.rank: link for link in in_process_links(2, deadline_s=60.0)}
    others = sorted(links.keys() - {rank})
    read: dict[int, list[bytes | str]] = {other: [] for other in others}
    links[rank].run(set(links))

    def send() -> None:
        link = FaultyLink(links[rank])
        try:
            for batch in range(batches):
                link.fault = fault if batch == batches - 1 else None
                link.begin()
                for outgoing in exchanges:
                    link.exchange({peer: tensor + batch for peer, tensor in outgoing.items()}, {})
        except NetworkError:
            links[rank].close()
        else:
            links[rank].finish()

    def listen(other: int) -> None:
        while (message := one_message(links[other], rank)) is not None:
            read[other].append(message)
            if isinstance(message, str):
                break
        links[other].finish()

    threads = [threading.Thread(target=send), *(threading.Thread(target=listen, args=(other,)) for other in others)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return read


def one_message(link: InProcessLink, sender: int) -> bytes | str | None:
    """The payload of the next message of any length, None after the deadline."""
    try:
        message = link._hub.take((sender, link.rank), 60.0, 60.0)
    except PartyCrashedError:
        return "gone"
    return None if message is None else message.payload


def raw(tensor: torch.Tensor) -> bytes:
    return tensor.contiguous().numpy().tobytes()


def changed(fault: Fault, tensor: torch.Tensor, step: int = 0) -> torch.Tensor:
    """What the fault sends to party 1 instead of this tensor, of the same type if its length allows."""
    (sent,) = fault(step, {1: tensor, BOARD: tensor}, [[]])
    return sent[1]


class TestEachFault:
    """Each does what its docstring says, in its exchange only."""

    @pytest.mark.parametrize("message", MESSAGES)
    @pytest.mark.parametrize("rank", [0, BOARD])
    def test_no_fault_of_another_exchange_changes_anything(self, message: str, rank: int) -> None:
        others = [1, BOARD if rank == 0 else 0]
        exchanges = [dict.fromkeys(others, MESSAGES[message])] * 2
        honest = received(None, exchanges, rank=rank)
        assert honest == {other: [raw(MESSAGES[message])] * 2 for other in others}
        for fault in every_fault(step=7):
            assert received(fault, exchanges, rank=rank) == honest, fault

    @pytest.mark.parametrize("message", MESSAGES)
    @pytest.mark.parametrize("rank", [0, BOARD])
    def test_each_fault_takes_messages_of_any_kind_from_any_rank(self, message: str, rank: int) -> None:
        others = [1, BOARD if rank == 0 else 0]
        exchanges = [dict.fromkeys(others, MESSAGES[message])] * 2
        honest = received(None, exchanges, rank=rank, batches=2)
        for fault in every_fault(step=1):
            ended = received(fault, exchanges, rank=rank, batches=2)
            assert ended.keys() == honest.keys()
            # An empty message has nothing to change; what leaves or arrives may differ all the same.
            if MESSAGES[message].numel() and not isinstance(fault, Delay):
                assert ended != honest, fault

    def test_a_crash_is_before_its_exchange_or_after_so_many_messages_in_the_order_of_ranks(self) -> None:
        exchanges = [{BOARD: INT64, 1: INT64}, {BOARD: UINT8, 1: UINT8}]
        before = received(Crash(step=1), exchanges)
        assert before == {1: [raw(INT64), "gone"], BOARD: [raw(INT64), "gone"]}
        assert received(Crash(step=1, after=0), exchanges) == before
        assert received(Crash(step=1, after=1), exchanges) == {
            1: [raw(INT64), raw(UINT8), "gone"],
            BOARD: [raw(INT64), "gone"],
        }
        everything = [raw(INT64), raw(UINT8), "gone"]
        assert received(Crash(step=1, after=2), exchanges) == {1: everything, BOARD: everything}
        assert received(Crash(step=2), exchanges) == received(None, exchanges)

    def test_silence_is_to_all_or_to_one_peer_and_ends(self) -> None:
        exchanges = [{BOARD: INT64, 1: INT64}, {BOARD: UINT8, 1: UINT8}]
        both = [raw(INT64), raw(UINT8)]
        assert received(Mute(step=0), exchanges) == {1: both[1:], BOARD: both[1:]}
        assert received(Mute(step=0, to=BOARD), exchanges) == {1: both, BOARD: both[1:]}
        assert received(Mute(step=0, to=5), exchanges) == {1: both, BOARD: both}

    @pytest.mark.parametrize(("seconds", "ended"), [(0.0, "exact"), (59.0, "exact"), (61.0, "PartyTimeoutError")])
    def test_a_delay_matters_beyond_the_deadline(self, seconds: float, ended: str) -> None:
        fault = Delay(step=SCATTER, seconds=seconds)
        parties = InProcessParties(3, deadline_s=60.0, faults={1: fault})
        assert kind_of(parties, WORDS[:, :3]) == ended

    @pytest.mark.parametrize("seconds", [-1.0, float("nan")])
    def test_time_does_not_run_backwards(self, seconds: float) -> None:
        with pytest.raises(CloisterError, match="seconds"):
            Delay(step=0, seconds=seconds)

    def test_a_duplicate_is_the_same_message_again(self) -> None:
        exchanges = [{1: INT64, BOARD: UINT8}, {1: UINT8, BOARD: INT64}]
        assert received(Duplicate(step=0), exchanges) == {
            1: [raw(INT64), raw(INT64), raw(UINT8)],
            BOARD: [raw(UINT8), raw(UINT8), raw(INT64)],
        }

    def test_a_replay_is_of_the_exchange_before_or_of_an_older_batch(self) -> None:
        exchanges = [{1: INT64}, {1: INT64 * 10}]
        older = [raw(INT64), raw(INT64 * 10), raw(INT64 + 1), raw(INT64 * 10 + 1)]
        now = [raw(INT64 + 2), raw(INT64 * 10 + 2)]
        assert received(Replay(step=1), exchanges, batches=3)[1] == [*older, now[0], now[0]]
        assert received(Replay(step=1, batches_back=1), exchanges, batches=3)[1] == [*older, now[0], older[3]]
        assert received(Replay(step=1, batches_back=2), exchanges, batches=3)[1] == [*older, now[0], older[1]]

    def test_with_nothing_to_replay_the_party_follows_the_protocol(self) -> None:
        exchanges = [{1: INT64}, {1: UINT8}]
        honest = received(None, exchanges)
        for fault in (Replay(step=0), Replay(step=0, batches_back=1), Replay(step=1, batches_back=9)):
            assert received(fault, exchanges) == honest

    def test_what_a_party_sends_again_is_what_it_wanted_to_send_even_if_it_is_changed_later(self) -> None:
        message = INT64.clone()
        link = FaultyLink(in_process_links(2)[0], Replay(step=1))
        link.begin()
        link.exchange({1: message}, {})
        message.zero_()
        assert torch.equal(link.sent.batches[-1][0][1], INT64)

    def test_equivocation_tells_some_peers_other_words(self) -> None:
        (sent,) = Equivocate(step=0, delta=5, to=frozenset({1, 2}))(0, dict.fromkeys([1, 2, 3, BOARD], INT64), [[]])
        assert [torch.equal(sent[peer], INT64 + 5) for peer in (1, 2, 3, BOARD)] == [True, True, False, False]
        assert torch.equal(sent[3], INT64)

    @pytest.mark.parametrize("delta", [1, -1, 2**62, 2**63 - 1, 2**63, 2**64 + 3, -(2**63)])
    def test_tampering_adds_modulo_2_to_the_64(self, delta: int) -> None:
        plain = [[(word + delta + 2**63) % 2**64 - 2**63 for word in row] for row in INT64.tolist()]
        assert changed(Tamper(step=0, delta=delta), INT64).tolist() == plain

    def test_tampering_with_one_word_leaves_the_others(self) -> None:
        for word, place in [(0, 0), (4, 4), (-1, 5), (-6, 0), (6, 0), (-7, 5)]:
            shift = changed(Tamper(step=0, delta=9, word=word), INT64) - INT64
            assert shift.shape == INT64.shape
            assert shift.flatten().tolist() == [9 if each == place else 0 for each in range(6)]

    def test_tampering_with_bytes_flips_bits(self) -> None:
        assert torch.equal(changed(Tamper(step=0, delta=3), UINT8), UINT8 ^ 3)
        assert torch.equal(changed(Tamper(step=0, delta=256), UINT8), UINT8 ^ 255)
        one = changed(Tamper(step=0, delta=1, word=-1), UINT8)
        assert (one ^ UINT8).tolist() == [0, 0, 0, 0, 0, 1]

    def test_tampering_leaves_the_partys_own_tensors_alone(self) -> None:
        message = INT64.clone()
        for fault in every_fault(step=0):
            list_or_crash(fault, {1: message})
            assert torch.equal(message, INT64), fault

    def test_truncation_keeps_the_first_half(self) -> None:
        assert changed(Truncate(step=0), INT64).tolist() == [1, 2, 3]
        assert changed(Truncate(step=0), UINT8).tolist() == [0, 1, 255]
        assert changed(Truncate(step=0), EMPTY["int64"]).numel() == 0

    @given(excess=st.integers(-100, 100), seed=st.integers(0, 5))
    def test_garbage_has_the_asked_length_and_depends_on_its_seed(self, excess: int, seed: int) -> None:
        for tensor in MESSAGES.values():
            fault = Garbage(step=0, seed=seed, excess_bytes=excess)
            assert changed(fault, tensor).nbytes == max(tensor.nbytes + excess, 0)
            assert torch.equal(changed(fault, tensor), changed(fault, tensor))
        # 48 random bytes are equal with probability 2^-384.
        bytes_of = [raw(changed(Garbage(step=0, seed=each, excess_bytes=0), INT64)) for each in (seed, seed + 1)]
        assert bytes_of[0] != bytes_of[1] != raw(INT64)

    def test_other_types_are_half_as_long_as_long_or_twice_as_long(self) -> None:
        for tensor in MESSAGES.values():
            lengths = [changed(WrongDtype(step=0, width=width), tensor).nbytes for width in ("half", "same", "double")]
            assert lengths == [-(-tensor.nbytes // 2), tensor.nbytes, 2 * tensor.nbytes]
        floats = changed(WrongDtype(step=0), INT64).view(torch.float64)
        assert floats.tolist() == [1.0, 2.0, 3.0, 4.0, 5.0, -6.0]
        assert changed(WrongDtype(step=0, width="half"), INT64).view(torch.int32).tolist() == INT64.flatten().tolist()
        assert changed(WrongDtype(step=0, width="double"), UINT8).view(torch.int16).tolist() == UINT8.tolist()

    def test_the_rows_of_two_clusters_change_places(self) -> None:
        fault = WrongCluster(step=0, clusters=2)
        assert changed(fault, INT64).tolist() == [[4, 5, -6], [1, 2, 3]]
        assert changed(fault, INT64.flatten()).flatten().tolist() == [4, 5, -6, 1, 2, 3]
        assert torch.equal(changed(WrongCluster(step=0, clusters=4), UINT8), UINT8)  # six bytes are no four rows
        three = torch.arange(6).view(3, 2)
        assert changed(WrongCluster(step=0, clusters=3, first=2, second=0), three).tolist() == [[4, 5], [2, 3], [0, 1]]

    def test_impossible_faults_are_refused(self) -> None:
        with pytest.raises(CloisterError, match="clusters = 1"):
            WrongCluster(step=0, clusters=1)
        with pytest.raises(CloisterError, match="batches_back = -1"):
            Replay(step=0, batches_back=-1)

    def test_combined_faults_act_one_after_the_other(self) -> None:
        both = Combined(faults=(Tamper(step=0, delta=1), Duplicate(step=0), Delay(step=1, seconds=2.0), Crash(step=2)))
        exchanges = [{1: INT64}] * 3
        assert received(both, exchanges)[1] == [raw(INT64 + 1), raw(INT64 + 1), raw(INT64), "gone"]

    def test_crashes_and_delays_need_no_ill_will(self) -> None:
        assert {type(fault).__name__ for fault in every_fault(step=0) if fault.kind == "crash"} == {"Crash", "Delay"}


def every_fault(step: int) -> list[Fault]:
    """One of each kind."""
    return [
        Crash(step=step),
        Crash(step=step, after=1),
        Mute(step=step),
        Mute(step=step, to=1),
        Delay(step=step, seconds=1.0),
        Duplicate(step=step),
        Replay(step=step, batches_back=1),
        Equivocate(step=step, delta=3, to=frozenset({1})),
        Tamper(step=step, delta=3),
        Tamper(step=step, delta=3, to=1, word=-1),
        Truncate(step=step),
        Garbage(step=step),
        Garbage(step=step, excess_bytes=0),
        WrongDtype(step=step),
        WrongDtype(step=step, width="half"),
        WrongDtype(step=step, width="double"),
        WrongCluster(step=step, clusters=2),
    ]


def list_or_crash(fault: Fault, outgoing: Mapping[int, torch.Tensor]) -> None:
    try:
        list(fault(0, outgoing, [[{1: UINT8}], []]))
    except PartyCrashedError:
        assert isinstance(fault, Crash)


def kind_of(parties: InProcessParties, words: torch.Tensor, name: str = "additive") -> str:
    try:
        sums = parties.open_sums(secure_sums.resolve(name), words).sums
    except NetworkError as error:
        return type(error).__name__
    return "exact" if torch.equal(sums, words.sum(dim=1)) else "wrong"


class TestFaultsOverRounds:
    """A pool keeps what faulty parties have sent, and its faults may change from round to round."""

    def test_a_message_of_the_round_before_is_sent_again(self) -> None:
        """Without authentication or freshness it is taken: the documented weakness of plaintext."""
        faults: dict[int, Fault] = {}
        parties = InProcessParties(3, faults=faults)
        first, second = WORDS[:, :3], WORDS[:, :3] * 100
        assert kind_of(parties, first, "plaintext") == "exact"
        faults[2] = Replay(step=0, batches_back=1)
        opened = parties.open_sums(secure_sums.resolve("plaintext"), second).sums
        assert torch.equal(opened, second[:, 0] + second[:, 1] + first[:, 2])

    def test_a_fault_that_is_taken_away_is_gone(self) -> None:
        faults: dict[int, Fault] = {1: Tamper(step=0, delta=1)}
        parties = InProcessParties(3, faults=faults)
        assert kind_of(parties, WORDS[:, :3], "plaintext") == "wrong"
        faults.clear()
        assert kind_of(parties, WORDS[:, :3], "plaintext") == "exact"

    def test_a_pool_without_faults_remembers_nothing(self) -> None:
        parties = InProcessParties(3)
        assert kind_of(parties, WORDS[:, :3]) == "exact"
        assert all(len(batch) == 0 for link in parties._faulty.values() for batch in link.sent.batches)

    def test_what_each_party_has_received_is_kept_when_a_batch_fails(self) -> None:
        parties = InProcessParties(3, faults={1: Crash(step=GATHER)})
        assert kind_of(parties, WORDS[:, :3]) == "PartyCrashedError"
        assert {message.sender for message in parties.transcripts[0]} == {1, 2}

    @pytest.mark.parametrize("name", PROTOCOLS)
    def test_a_board_that_is_gone_ends_the_round_with_a_typed_error(self, name: str) -> None:
        spec = secure_sums.resolve(name)
        parties = next(c for c in fitting_sizes(spec, 8) if c > 1)
        scenario = Scenario(protocol=spec, parties=parties, placement=Placement(faults=((BOARD, Crash(step=0)),)))
        assert scenario.run().kind == "PartyCrashedError"


def test_the_conditions_are_not_vacuous() -> None:
    """The check of all protocols above fails where one claims what it does not have."""
    lie = Placement(faults=((0, Tamper(step=1, delta=1)),))
    scenario = Scenario(protocol=secure_sums.resolve("plaintext"), parties=3, placement=lie)
    assert check_conditions(scenario).kind == "wrong"
    honest = type(secure_sums.make(scenario.protocol))
    claimed = secure_sums.make(secure_sums.resolve("authenticated")).conditions
    with (
        mock.patch.object(honest, "conditions", claimed),
        pytest.raises(AssertionError, match=r"off by (.|\n)*cloister-replay"),
    ):
        check_conditions(scenario)


def test_strategies_know_every_fault_by_its_name() -> None:
    kinds = {type(fault).__name__ for fault in every_fault(step=0)}
    assert set(fault_strategies(parties=3)) == kinds
