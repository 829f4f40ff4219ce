"""Our communicator as CrypTen's: what its collectives return, over party counts, shapes and types.

CrypTen's own tests of its communicator and of arithmetic sharing are in its source distribution only;
`tests/systems/crypten_own_tests.py` runs them on our engine. The behaviours here are those of its public interface,
tested anew.
"""

from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.distributed import ReduceOp

from protocols import crypten_engine
from protocols.check import CloisterError
from protocols.crypten_engine import crypten
from protocols.in_process_link import InProcessLink, in_process_links
from protocols.link_communicator import LinkCommunicator
from protocols.network import PartyTimeoutError
from protocols.testing.stock_crypten.stock import side_by_side
from tests.links import run

PARTIES = pytest.mark.parametrize("parties", [2, 3, 5])
SHAPES = [(), (1,), (7,), (2, 3), (3, 1, 4)]
SHAPED = pytest.mark.parametrize("shape", SHAPES, ids=str)
TYPES = [torch.int64, torch.int32, torch.uint8, torch.float64]
Collective = Callable[[LinkCommunicator], Any]


def everywhere(parties: int, collective: Collective) -> list[Any]:
    """What the collective returns at each party."""
    return side_by_side(parties, lambda link: collective(LinkCommunicator(link, parties)))


def of(rank: int, shape: tuple[int, ...], dtype: torch.dtype = torch.int64) -> torch.Tensor:
    """A tensor that tells its rank and its places."""
    count = torch.Size(shape).numel()
    return (torch.arange(count).reshape(shape) + 100 * rank).to(dtype)


def same(found: object, expected: torch.Tensor) -> bool:
    return isinstance(found, torch.Tensor) and found.dtype == expected.dtype and torch.equal(found, expected)


@PARTIES
@SHAPED
class TestCollectives:
    def test_all_reduce_gives_everybody_the_sum_and_leaves_its_input(
        self, parties: int, shape: tuple[int, ...]
    ) -> None:
        mine = [of(rank, shape) for rank in range(parties)]
        found = everywhere(parties, lambda at: at.all_reduce(mine[at.get_rank()]))
        assert all(same(each, torch.stack([of(rank, shape) for rank in range(parties)]).sum(0)) for each in found)
        assert all(same(each, of(rank, shape)) for rank, each in enumerate(mine))

    def test_all_reduce_gives_everybody_the_exclusive_or(self, parties: int, shape: tuple[int, ...]) -> None:
        expected = of(0, shape)
        for rank in range(1, parties):
            expected = expected ^ of(rank, shape)
        found = everywhere(parties, lambda at: at.all_reduce(of(at.get_rank(), shape), ReduceOp.BXOR))
        assert all(same(each, expected) for each in found)

    def test_reduce_gives_one_party_the_sum_and_the_others_nothing(self, parties: int, shape: tuple[int, ...]) -> None:
        total = sum((of(rank, shape) for rank in range(parties)), torch.zeros(shape, dtype=torch.int64))
        for dst in range(parties):
            found = everywhere(parties, lambda at, dst=dst: at.reduce(of(at.get_rank(), shape), dst))
            assert same(found.pop(dst), total)
            assert found == [None] * (parties - 1)

    def test_gather_gives_one_party_all_tensors_by_rank(self, parties: int, shape: tuple[int, ...]) -> None:
        for dst in range(parties):
            found = everywhere(parties, lambda at, dst=dst: at.gather(of(at.get_rank(), shape), dst))
            assert all(same(each, of(rank, shape)) for rank, each in enumerate(found.pop(dst)))
            assert found == [[None]] * (parties - 1)

    def test_all_gather_gives_everybody_all_tensors_by_rank(self, parties: int, shape: tuple[int, ...]) -> None:
        for gathered in everywhere(parties, lambda at: at.all_gather(of(at.get_rank(), shape))):
            assert all(same(each, of(rank, shape)) for rank, each in enumerate(gathered))
            assert len(gathered) == parties

    def test_broadcast_fills_and_returns_the_tensor_of_its_source(self, parties: int, shape: tuple[int, ...]) -> None:
        for src in range(parties):
            mine = [of(rank, shape) for rank in range(parties)]
            found = everywhere(parties, lambda at, src=src, mine=mine: at.broadcast(mine[at.get_rank()], src))
            assert all(same(each, of(src, shape)) for each in (*found, *mine))

    def test_scatter_gives_each_party_its_tensor(self, parties: int, shape: tuple[int, ...]) -> None:
        whole = [of(rank, shape) for rank in range(parties)]
        for src in range(parties):
            sized = lambda at, src=src: at.scatter(whole if at.get_rank() == src else [], src, size=shape)  # noqa: E731
            assert all(same(each, of(rank, shape)) for rank, each in enumerate(everywhere(parties, sized)))
            listed = everywhere(parties, lambda at, src=src: at.scatter(whole, src))
            assert all(same(each, of(rank, shape)) for rank, each in enumerate(listed))

    def test_what_is_given_is_left_as_it_is(self, parties: int, shape: tuple[int, ...]) -> None:
        """But for what broadcast and irecv fill."""

        def left(at: LinkCommunicator) -> bool:
            rank = at.get_rank()
            mine, whole = of(rank, shape), [of(each, shape) for each in range(parties)]
            at.all_reduce(mine)
            at.all_reduce([mine, mine], batched=True)
            at.reduce(mine, 0)
            at.gather(mine, 0)
            at.all_gather(mine)
            at.scatter(whole, 0)
            at.send(mine, (rank + 1) % parties)
            at.recv(torch.zeros(shape, dtype=torch.int64), src=(rank - 1) % parties)
            return same(mine, of(rank, shape)) and all(map(same, whole, (of(each, shape) for each in range(parties))))

        assert all(everywhere(parties, left))

    def test_what_is_sent_around_a_ring_comes_back(self, parties: int, shape: tuple[int, ...]) -> None:
        def ring(at: LinkCommunicator) -> torch.Tensor:
            rank = at.get_rank()
            at.send(of(rank, shape), (rank + 1) % parties)
            received = at.recv(torch.zeros(shape, dtype=torch.int64), src=(rank - 1) % parties)
            pending = at.isend(received, (rank - 1) % parties), at.irecv(received, (rank + 1) % parties)
            for each in pending:
                each.wait()
            return received

        assert all(same(each, of(rank, shape)) for rank, each in enumerate(everywhere(parties, ring)))

    def test_a_size_is_named_to_all(self, parties: int, shape: tuple[int, ...]) -> None:
        def named(at: LinkCommunicator) -> torch.Size:
            return at.broadcast_obj(torch.Size(shape) if at.get_rank() == 1 else None, 1)

        assert everywhere(parties, named) == [torch.Size(shape)] * parties


@PARTIES
class TestBatches:
    def test_batched_collectives_return_lists_of_the_same_shapes(self, parties: int) -> None:
        expected = [torch.stack([of(rank, shape) for rank in range(parties)]).sum(0) for shape in SHAPES]
        mine = lambda at: [of(at.get_rank(), shape) for shape in SHAPES]  # noqa: E731
        for found in everywhere(parties, lambda at: at.all_reduce(mine(at), batched=True)):
            assert all(map(same, found, expected))
        first, *others = everywhere(parties, lambda at: at.reduce(mine(at), 0, batched=True))
        assert all(map(same, first, expected))
        assert others == [None] * (parties - 1)
        for found in everywhere(parties, lambda at: at.broadcast(mine(at), 1, batched=True)):
            assert all(map(same, found, [of(1, shape) for shape in SHAPES]))

    def test_a_batch_is_as_many_messages_as_one_tensor(self, parties: int) -> None:
        def messages(at: LinkCommunicator) -> int:
            at.all_reduce([of(at.get_rank(), shape) for shape in SHAPES], batched=True)
            return at._link.meter.traffic().mpc.messages

        assert everywhere(parties, messages) == [2 * (parties - 1)] * parties

    @pytest.mark.parametrize("dtype", TYPES, ids=str)
    def test_types_are_kept(self, parties: int, dtype: torch.dtype) -> None:
        for found in everywhere(parties, lambda at: at.all_reduce(of(at.get_rank() % 2, (3,), dtype))):
            assert same(found, torch.stack([of(rank % 2, (3,), dtype) for rank in range(parties)]).sum(0, dtype=dtype))

    def test_what_was_gathered_does_not_change_with_what_was_given(self, parties: int) -> None:
        def mutated(at: LinkCommunicator) -> list[torch.Tensor]:
            mine = of(at.get_rank(), (2,))
            gathered = at.all_gather(mine)
            mine += 1
            return gathered

        for gathered in everywhere(parties, mutated):
            assert all(same(each, of(rank, (2,))) for rank, each in enumerate(gathered))

    def test_nobody_passes_a_barrier_before_all_are_there(self, parties: int) -> None:
        here: list[int] = []

        def arrive(at: LinkCommunicator) -> int:
            here.append(at.get_rank())
            at.barrier()
            return len(here)

        assert everywhere(parties, arrive) == [parties] * parties


class TestRefusals:
    def test_another_operation_than_sum_and_xor_is_refused(self) -> None:
        with pytest.raises(CloisterError, match=r"op = RedOpType\.MAX is not allowed"):
            everywhere(2, lambda at: at.all_reduce(of(0, (1,)), ReduceOp.MAX))

    def test_a_sender_that_is_not_named_is_refused(self) -> None:
        with pytest.raises(CloisterError, match="src = None is not allowed"):
            everywhere(2, lambda at: at.recv(of(0, (1,))))

    @pytest.mark.parametrize("thing", [{"a": 1}, [1, 2], "size", (1, 2.5)], ids=repr)
    def test_an_object_is_no_size(self, thing: Any) -> None:
        with pytest.raises(CloisterError, match=f"a {type(thing).__name__} cannot be broadcast"):
            everywhere(1, lambda at: at.broadcast_obj(thing, 0))

    def test_a_batch_of_several_types_is_refused(self) -> None:
        with pytest.raises(CloisterError, match="allowed: tensors of one type"):
            everywhere(2, lambda at: at.all_reduce([of(0, (1,)), of(0, (1,), torch.float64)], batched=True))

    def test_a_party_that_is_not_there_ends_a_collective_at_its_deadline(self) -> None:
        link, *_ = in_process_links(2, deadline_s=0.1)
        with pytest.raises(PartyTimeoutError, match="party 1 sent nothing"):
            LinkCommunicator(link, 2).gather(of(0, ()), 0)


@PARTIES
class TestArithmeticSharing:
    """CrypTen's arithmetic sharing, unchanged, over our communicator: what its users call for a sum."""

    def opened(self, parties: int, work: Callable[[Any, int], Any]) -> list[Any]:
        def party(link: Any) -> Any:
            with crypten_engine.world(link, parties):
                crypten._setup_prng()
                return work(crypten.mpc.primitives.ArithmeticSharedTensor, link.rank)

        return side_by_side(parties, party)

    @pytest.mark.parametrize("broadcast_size", [False, True])
    def test_what_one_party_shares_all_or_one_can_open(self, parties: int, broadcast_size: bool) -> None:
        values = torch.tensor([[1.5, -2.25], [0.0, 1000.125]])

        def work(sharing: Any, rank: int) -> tuple[torch.Tensor, torch.Tensor | None]:
            given = values if rank == 1 or not broadcast_size else []
            shared = sharing(given, src=1, broadcast_size=broadcast_size)
            return shared.get_plain_text(), shared.get_plain_text(dst=0)

        found = self.opened(parties, work)
        assert all(torch.equal(each, values) for each, _ in found)
        assert torch.equal(found[0][1], values)
        assert all(each is None for _, each in found[1:])

    def test_sums_differences_and_public_terms_open_as_in_the_clear(self, parties: int) -> None:
        first, second = torch.tensor([1.5, -2.0, 8.25]), torch.tensor([0.5, 4.0, -0.25])

        def work(sharing: Any, rank: int) -> list[torch.Tensor]:
            left, right = sharing(first, src=0), sharing(second, src=parties - 1)
            results = [left + right, left - right, left + second, 2 - left, left.sum(), -left]
            results.append(sharing(first, src=0).add_(right))
            return [each.get_plain_text() for each in results]

        expected = [first + second, first - second, first + second, 2 - first, first.sum(), -first, first + second]
        for found in self.opened(parties, work):
            assert all(map(torch.equal, found, expected))

    def test_a_product_by_the_first_party_provider_opens_within_a_unit(self, parties: int) -> None:
        """Truncation is off by one unit of 2^-16 at most, but for 2^32 with probability |x y| 2^-31 < 2^-26."""

        def work(sharing: Any, rank: int) -> torch.Tensor:
            product = sharing(torch.tensor([1.5, -2.0]), src=0) * sharing(torch.tensor([4.0, 3.0]), src=1)
            return product.reveal().double() / 2**16

        # One unit for each party: each truncates its own share.
        allowed = parties * 2.0**-16
        for found in self.opened(parties, work):
            assert bool(((found - torch.tensor([6.0, -6.0], dtype=torch.float64)).abs() <= allowed).all())

    def test_a_batch_of_sums_is_opened_at_once(self, parties: int) -> None:
        def work(sharing: Any, rank: int) -> list[list[int]]:
            shared = [sharing(torch.tensor([owner, owner + 1]), precision=0, src=owner) for owner in range(parties)]
            return [each.tolist() for each in sharing.reveal_batch(shared)]

        assert self.opened(parties, work) == [[[owner, owner + 1] for owner in range(parties)]] * parties


def spied_reduction(parties: int, shares: list[torch.Tensor]) -> tuple[list[torch.Tensor], list[tuple[int, int, Any]]]:
    """Return what each party gets from all_reduce, and all messages (sender, receiver, words) in sending order."""
    messages: list[tuple[int, int, Any]] = []
    original = InProcessLink.exchange

    def spy(self: InProcessLink, outgoing: dict[int, torch.Tensor], incoming: dict[int, torch.Tensor]) -> None:
        messages.extend((self.rank, peer, tensor.clone()) for peer, tensor in outgoing.items())
        original(self, outgoing, incoming)

    links = in_process_links(parties)[:parties]
    with mock.patch.object(InProcessLink, "exchange", spy):
        results = run(links, lambda link: LinkCommunicator(link, parties).all_reduce(shares[link.rank]))
    return results, messages


def by_link(messages: list[tuple[int, int, Any]]) -> dict[tuple[int, int], list[torch.Tensor]]:
    return {
        (a, b): [tensor for sender, receiver, tensor in messages if (sender, receiver) == (a, b)]
        for a, b in {(sender, receiver) for sender, receiver, _ in messages}
    }


class TestCryptensCollectives:
    @given(parties=st.integers(1, 5), clusters=st.integers(1, 3), coordinates=st.integers(1, 12), data=st.data())
    def test_all_reduce_returns_the_sum_modulo_2_64_at_every_party(
        self, parties: int, clusters: int, coordinates: int, data: st.DataObject
    ) -> None:
        count = parties * clusters * coordinates
        flat = data.draw(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=count, max_size=count))
        shares = torch.tensor(flat, dtype=torch.int64).view(parties, clusters, coordinates)
        plain = shares.tolist()
        expected = [
            [(sum(plain[i][j][k] for i in range(parties)) + 2**63) % 2**64 - 2**63 for k in range(coordinates)]
            for j in range(clusters)
        ]
        results, _ = spied_reduction(parties, list(shares))
        assert [result.tolist() for result in results] == [expected] * parties

    @pytest.mark.parametrize(("parties", "coordinates"), [(2, 7), (3, 7), (5, 3), (4, 4)])
    def test_all_reduce_has_each_coordinate_summed_by_exactly_one_party(self, parties: int, coordinates: int) -> None:
        """Shares that are the numbers of the coordinates show who gets which in the first round."""
        shares = [torch.arange(coordinates)[None] for _ in range(parties)]
        _, messages = spied_reduction(parties, shares)
        links = by_link(messages)
        for sender in range(parties):
            given_away = [k for peer in range(parties) if peer != sender for k in links[sender, peer][0][0].tolist()]
            assert len(set(given_away)) == len(given_away), "two parties sum the same coordinate"
            own = set(range(coordinates)) - set(given_away)
            for other in range(parties):
                if other != sender:
                    assert set(links[other, sender][0][0].tolist()) == own, "a coordinate is summed by nobody"

    def test_a_cluster_of_a_batch_sends_the_same_words_as_if_it_ran_alone(self) -> None:
        shares = torch.arange(3 * 4 * 7).view(3, 4, 7) ** 3
        _, batch = spied_reduction(3, list(shares))
        for j in range(4):
            _, alone = spied_reduction(3, list(shares[:, j : j + 1]))
            together, single = by_link(batch), by_link(alone)
            assert together.keys() == single.keys()
            for pair, sent in single.items():
                assert [tensor[j : j + 1].tolist() for tensor in together[pair]] == [tensor.tolist() for tensor in sent]
