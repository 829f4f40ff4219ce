"""Vouchers for opened sums: what each is bound to, and that its key is new and goes to the board alone."""

from itertools import product

import pytest
import torch
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from protocols.in_process import InProcessParties
from protocols.network import BOARD
from protocols.secure_sum import secure_sums
from protocols.secure_sum._publish import VOUCHER_BYTES, vouches
from protocols.testing.invariants.runs import Watched, watching

ADDITIVE = secure_sums.resolve("additive")
WORDS = torch.arange(2 * 4 * 5, dtype=torch.int64).view(2, 4, 5)


def posts(batches: int = 2) -> list[dict[int, list[bytes]]]:
    """What each member tells the board in each batch of one pool."""
    parties, told = InProcessParties(4), []
    for _ in range(batches):
        with watching(watched := Watched()):
            parties.open_sums(ADDITIVE, WORDS)
        told.append(
            {
                rank: [message.numpy().tobytes() for peer, message in sent if peer == BOARD]
                for rank, sent in watched.sent.items()
                if rank != BOARD
            }
        )
    return told


def voucher(use: int, sums: bytes, key: bytes = bytes(range(16)), model: bytes = bytes(32)) -> bytes:
    """A voucher by the other interface of the library: GCM of an empty message, all the rest being attached to it."""
    return key + AESGCM(key).encrypt(bytes(12), b"", use.to_bytes(16, "big") + model + sums)


class TestAVoucher:
    SUMS = torch.arange(-40, 41, dtype=torch.int64).numpy().tobytes()

    @pytest.mark.parametrize("use", [1, 2**47])
    def test_fits_its_batch_and_its_sums(self, use: int) -> None:
        assert vouches(voucher(use, self.SUMS), use, memoryview(self.SUMS))
        assert vouches(voucher(use, b""), use, memoryview(b""))

    def test_fits_no_sums_of_which_one_bit_differs(self) -> None:
        made = voucher(1, self.SUMS)
        for place, bit in product(range(len(self.SUMS)), range(8)):
            other = bytearray(self.SUMS)
            other[place] ^= 1 << bit
            assert not vouches(made, 1, memoryview(other))

    def test_fits_no_other_batch_and_no_sums_with_words_more_or_less(self) -> None:
        made = voucher(1, self.SUMS)
        for use in (0, 2, 257, 2**47):
            assert not vouches(made, use, memoryview(self.SUMS))
        for other in (b"", self.SUMS[:-8], self.SUMS[8:], self.SUMS + bytes(8), bytes(8) + self.SUMS):
            assert not vouches(made, 1, memoryview(other))

    def test_fits_its_model_and_no_other(self) -> None:
        model, other = bytes(range(32)), bytes(range(1, 33))
        made = voucher(1, self.SUMS, model=model)
        assert vouches(made, 1, memoryview(self.SUMS), model)
        assert not vouches(made, 1, memoryview(self.SUMS), other)
        assert not vouches(made, 1, memoryview(self.SUMS))

    def test_of_which_one_bit_differs_fits_nothing(self) -> None:
        for place, bit in product(range(VOUCHER_BYTES), range(8)):
            made = bytearray(voucher(1, self.SUMS))
            made[place] ^= 1 << bit
            assert not vouches(bytes(made), 1, memoryview(self.SUMS))


class TestMembers:
    def test_vouch_for_what_member_0_published_and_it_for_the_batch(self) -> None:
        for use, told in enumerate(posts(), start=1):
            sums = memoryview(told[0][0])
            assert sums == WORDS.sum(dim=1).numpy().tobytes()
            assert vouches(told[0][1], use, memoryview(b""))
            assert all(vouches(told[rank][0], use, sums) for rank in (1, 2, 3))

    def test_draw_a_new_key_for_each_batch(self) -> None:
        """P(a false alarm) < 28 pairs x 2^-128."""
        keys = [told[rank][-1][:16] for told in posts() for rank in range(4)]
        assert len(set(keys)) == 8

    def test_show_it_to_the_board_alone(self) -> None:
        """P(a false alarm) < 2^-128 for each of less than 2^10 places."""
        with watching(watched := Watched()):
            InProcessParties(4).open_sums(ADDITIVE, WORDS)
        keys = [sent[-1][1].numpy().tobytes()[:16] for rank, sent in watched.sent.items() if rank != BOARD]
        others = [m.numpy().tobytes() for sent in watched.sent.values() for peer, m in sent if peer != BOARD]
        assert len(keys) == 4
        assert not any(key in message for key in keys for message in others)
