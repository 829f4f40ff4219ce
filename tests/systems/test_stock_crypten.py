"""What CrypTen 0.4.1 gets wrong, shown on CrypTen itself, and the promise that the engine keeps instead.

Each `stock` test passes while the defect is there; should a CrypTen mend one, its test fails and says so.
"""

from itertools import combinations
from unittest import mock

import pytest
import torch

from protocols import crypten_engine
from protocols.crypten_engine import ArithmeticSharedTensor, crypten
from protocols.network import in_process_links
from protocols.randomness import SecretStreams
from protocols.ring import FixedPoint, NotEncodableError
from protocols.testing.secrecy import leaking_coalitions
from protocols.zero_sharing import ZeroShares

FixedPointEncoder = crypten.encoder.FixedPointEncoder
MENDED = "CrypTen has mended this; drop the workaround"


class _Bit:
    """Stands for a key of which one bit is drawn."""

    def __init__(self, bit: int) -> None:
        self.bit = bit

    def words(self, *, use: int, lanes: int, count: int) -> torch.Tensor:
        return torch.full((lanes, count), self.bit)


def hardened_masks(parties: int, bits: tuple[int, ...]) -> list[int]:
    """The shares of zero that ZeroShares draws when the key of each pair gives one bit."""
    pairs = list(combinations(range(parties), 2))
    shares = []
    for rank in range(parties):
        streams = {sum(pair) - rank: _Bit(bit) for pair, bit in zip(pairs, bits, strict=True) if rank in pair}
        share = ZeroShares(rank, streams).draw(use=0, parties=parties, clusters=1, coordinates=1)
        shares.append(int(share))
    return shares


def stock_masks(parties: int, bits: tuple[int, ...]) -> list[int]:
    """The shares of zero that CrypTen draws when the key of party i and i + 1 gives the i-th bit."""
    cpu = torch.device("cpu")
    links = in_process_links(parties)
    shares = []
    for rank in range(parties):
        with (
            crypten_engine.world(links[rank], parties),
            mock.patch(
                "crypten.mpc.primitives.arithmetic.generate_random_ring_element",
                lambda size, generator, device: torch.full(size, generator.bit),
            ),
        ):
            tables = crypten_engine._tables.get()
            tables["prev"][cpu], tables["next"][cpu] = _Bit(bits[rank - 1]), _Bit(bits[rank])
            shares.append(int(ArithmeticSharedTensor.PRZS((1,)).share))
    return shares


def neighbours_of_a_victim(parties: int) -> set[frozenset[int]]:
    """Both ring neighbours of each party."""
    return {frozenset({(victim - 1) % parties, (victim + 1) % parties}) for victim in range(parties)}


class TestSecrecyOfTheSharesOfZero:
    @pytest.mark.parametrize("parties", [3, 4, 5])
    def test_stock_two_ring_neighbours_together_learn_the_update_between_them(self, parties: int) -> None:
        holders = [frozenset({i, (i + 1) % parties}) for i in range(parties)]
        leaking = {
            frozenset(each) for each in leaking_coalitions(parties, holders, lambda bits: stock_masks(parties, bits))
        }
        pairs = neighbours_of_a_victim(parties) if parties > 3 else set()
        assert {each for each in leaking if len(each) == 2} == pairs, MENDED
        assert len(leaking) == {3: 0, 4: 2, 5: 10}[parties], MENDED
        assert all(any(pair <= each for pair in pairs) for each in leaking)

    @pytest.mark.parametrize("parties", [2, 3, 4, 5])
    def test_with_a_key_for_every_pair_no_coalition_learns_more_than_the_sum(self, parties: int) -> None:
        holders = [frozenset(pair) for pair in combinations(range(parties), 2)]
        assert leaking_coalitions(parties, holders, lambda bits: hardened_masks(parties, bits)) == []

    def test_a_missing_pair_is_seen(self) -> None:
        """A planted bug: parties 0 and 1 of four share no key, so 2 and 3 hold all keys of both."""
        holders = [frozenset(pair) for pair in combinations(range(4), 2)]
        leaking = leaking_coalitions(4, holders, lambda bits: hardened_masks(4, (0, *bits[1:])))
        assert leaking == [(2, 3)]

    def test_masks_that_do_not_use_their_keys_are_seen(self) -> None:
        holders = [frozenset(pair) for pair in combinations(range(3), 2)]
        assert (0,) in leaking_coalitions(3, holders, lambda bits: [0, 0, 0])


class TestSeeds:
    def test_stock_generator_ignores_the_upper_half_of_its_seed(self) -> None:
        draws = [torch.randint(2**62, (8,), generator=torch.Generator().manual_seed(seed)) for seed in (7, 7 + 2**32)]
        assert torch.equal(*draws), MENDED

    @pytest.mark.parametrize("bit", range(128))
    def test_every_bit_of_our_key_changes_the_whole_stream(self, bit: int) -> None:
        """Eight words agree in one place by chance with probability 2^-61, over all bits below 2^-54."""
        key = bytes(range(16))
        flipped = (int.from_bytes(key, "big") ^ (1 << bit)).to_bytes(16, "big")
        words = [SecretStreams(each).words(use=0, lanes=1, count=8) for each in (key, flipped)]
        assert not bool((words[0] == words[1]).any())


class TestFixedPoint:
    @pytest.mark.parametrize(("value", "decoded"), [(-10.99999, -11.99998), (-100.9995, -101.9995)])
    def test_stock_decoding_is_off_by_one_for_some_negative_numbers(self, value: float, decoded: float) -> None:
        encoder = FixedPointEncoder()
        assert float(encoder.decode(encoder.encode(torch.tensor([value])))) == pytest.approx(decoded, abs=2e-4), MENDED
        ring = FixedPoint()
        ours = ring.decode(ring.encode(torch.tensor([value], dtype=torch.float64), terms=1)).item()
        assert abs(ours - value) <= ring.unit / 2

    def test_stock_encoding_is_biased_towards_zero_and_ours_is_not(self) -> None:
        """Over all k / 64 of a unit above an even and an odd word: -63/128 of a unit when cut, 0 when rounded."""
        unit = 2.0**-16
        values = (1000 + torch.arange(128, dtype=torch.float64) / 64) * unit
        cut = FixedPointEncoder().encode(values)
        rounded = FixedPoint().encode(values, terms=1)
        assert float((cut * unit - values).mean()) == -63 / 128 * unit, MENDED
        assert float((rounded * unit - values).mean()) == 0.0

    @pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
    def test_stock_turns_a_number_that_is_none_into_a_huge_one_and_we_refuse_it(self, bad: float) -> None:
        word = int(FixedPointEncoder().encode(torch.tensor([bad])))
        assert abs(word) >= 2**62, MENDED
        with pytest.raises(NotEncodableError):
            FixedPoint().encode(torch.tensor([bad]), terms=1)
