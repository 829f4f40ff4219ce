"""What CrypTen 0.4.1 gets wrong, shown on CrypTen itself, and the promise that the engine keeps instead.

Each counterexample is there as long as the defect is; should a CrypTen mend one, its test fails and says so.
"""

import subprocess
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from protocols.crypten_engine import crypten
from protocols.in_process import InProcessParties
from protocols.in_process_link import InProcessLink
from protocols.network import Meter, PartyTimeoutError
from protocols.randomness import SecretStreams
from protocols.ring import FixedPoint, NotEncodableError
from protocols.secure_sum import additive
from protocols.testing.secrecy import leaking_coalitions
from protocols.testing.stock_crypten import DEFECTS, Defect, fresh, stock, worlds
from protocols.testing.stock_crypten.masks import hardened_leaks, hardened_masks, pair_holders, stock_leaks
from protocols.testing.verification import stock_rows
from protocols.zero_sharing import ZeroShares

FixedPointEncoder = crypten.encoder.FixedPointEncoder
MENDED = "CrypTen has mended this; drop the workaround"
BY_NUMBER = {defect.number: defect for defect in DEFECTS}
UNIT = 2.0**-16


def named(defect: Defect) -> str:
    return f"defect-{defect.number:02}"


@pytest.mark.xdist_group("stock")  # CrypTen's own interpreter runs all experiments once a process
@pytest.mark.parametrize("defect", DEFECTS, ids=named)
class TestEveryDefect:
    def test_stock_shows_it(self, defect: Defect) -> None:
        line = defect.counterexample()
        assert line is not None, f"{defect.title} {MENDED}"
        assert "\n" not in line

    def test_our_engine_holds_its_promise(self, defect: Defect) -> None:
        assert defect.held()

    def test_reads_as_one_sentence_on_each_side(self, defect: Defect) -> None:
        for sentence in (defect.title, defect.promise):
            assert sentence[0].isupper()
            assert sentence.endswith(".")
            assert "\n" not in sentence


@pytest.mark.xdist_group("stock")
def test_each_is_a_row_of_the_verification_report() -> None:
    rows = stock_rows()
    assert [(row.number, row.status) for row in rows] == [(str(each.number), "holds") for each in DEFECTS]


def test_the_defects_are_numbered_from_1_to_14() -> None:
    assert [defect.number for defect in DEFECTS] == list(range(1, 15))


class TestPlantedBugs:
    """Each promise breaks when its bug is put into our engine."""

    def check_breaks(self, number: int, reason: str) -> None:
        with pytest.raises(AssertionError, match=reason):
            BY_NUMBER[number].held()

    def test_01_decoding_as_crypten_does(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(FixedPoint, "decode", lambda self, words: FixedPointEncoder().decode(words).double())
        self.check_breaks(1, r"decode\(")

    def test_02_keys_of_ring_neighbours_only(self, monkeypatch: pytest.MonkeyPatch) -> None:
        plain = ZeroShares.draw

        def draw(self: ZeroShares, *, parties: int, **shape: int) -> torch.Tensor:
            near = {(self._rank + step) % parties for step in (1, -1)}
            neighbours = {peer: streams for peer, streams in self._streams.items() if peer in near}
            return plain(ZeroShares(self._rank, neighbours), parties=parties, **shape)

        monkeypatch.setattr(ZeroShares, "draw", draw)
        self.check_breaks(2, r"of 4 parties, \(0, 2\) learn more")

    def test_03_keys_of_32_bits(self, monkeypatch: pytest.MonkeyPatch) -> None:
        plain = SecretStreams.__init__
        monkeypatch.setattr(SecretStreams, "__init__", lambda self, key: plain(self, key[-4:] + bytes(12)))
        self.check_breaks(3, "bit 32 of the key")

    def test_04_words_sent_without_a_mask(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def draw(
            self: ZeroShares,
            *,
            clusters: int,
            coordinates: int,
            onto: torch.Tensor | None = None,
            **_: int,
        ) -> torch.Tensor:
            return torch.zeros(clusters, coordinates, dtype=torch.int64) if onto is None else onto.clone()

        monkeypatch.setattr(ZeroShares, "draw", draw)
        self.check_breaks(4, "party 0 of 3 learns more")

    def test_05_nobody_vouches_for_the_sum(self, monkeypatch: pytest.MonkeyPatch) -> None:
        read = additive.read_published
        monkeypatch.setattr(additive, "read_published", lambda board, vouching: read(board, vouching=False))
        self.check_breaks(5, "lies to party")

    def test_06_bounds_that_forget_how_many_terms_there_are(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(FixedPoint, "largest_word", lambda self, terms: 2**63 - 1)
        self.check_breaks(6, "wraps around")

    def test_07_values_that_saturate_instead_of_being_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        plain = FixedPoint.encode
        monkeypatch.setattr(
            FixedPoint, "encode", lambda self, values, terms: plain(self, self.saturate(values, terms=terms), terms=1)
        )
        self.check_breaks(7, "nan at place 0 is encoded")

    def test_08_messages_counted_twice(self, monkeypatch: pytest.MonkeyPatch) -> None:
        plain = Meter.header

        def header(self: Meter, *message: int) -> object:
            plain(self, *message)
            return plain(self, *message)

        monkeypatch.setattr(Meter, "header", header)
        self.check_breaks(8, "2 parties: .* counted")

    def test_09_a_wrong_sign_at_one_party(self, monkeypatch: pytest.MonkeyPatch) -> None:
        plain = ZeroShares.draw
        monkeypatch.setattr(
            ZeroShares, "draw", lambda self, **shape: plain(self, **shape) * (-1 if self._rank == 1 else 1)
        )
        self.check_breaks(9, "3 threads open another sum")

    def test_10_a_deadline_that_passes_unnoticed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        plain = InProcessLink.exchange

        def exchange(self: InProcessLink, *messages: Any) -> None:
            with suppress(PartyTimeoutError):
                plain(self, *messages)

        monkeypatch.setattr(InProcessLink, "exchange", exchange)
        self.check_breaks(10, "party 0 is silent")

    def test_11_errors_swallowed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        plain = InProcessParties.open_sums

        def open_sums(self: InProcessParties, *question: Any) -> Any:
            try:
                return plain(self, *question)
            except Exception:
                return SimpleNamespace(sums=None)

        monkeypatch.setattr(InProcessParties, "open_sums", open_sums)
        self.check_breaks(11, "party 0 crashes: None")

    def test_12_encoding_that_cuts(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(
            FixedPoint, "encode", lambda self, values, terms: (values * 2.0**self.fraction_bits).to(torch.int64)
        )
        self.check_breaks(12, r"encoding errs by -0\.492 units")

    def test_13_masks_drawn_in_order_instead_of_by_number(self, monkeypatch: pytest.MonkeyPatch) -> None:
        plain = SecretStreams.words

        def words(self: SecretStreams, *, use: int, lanes: int, count: int) -> torch.Tensor:
            return plain(self, use=self._last_use + 1, lanes=lanes, count=count)

        monkeypatch.setattr(SecretStreams, "words", words)
        self.check_breaks(13, "party 0 draws one mask more and shifts the sum")

    def test_13_masks_drawn_twice(self, monkeypatch: pytest.MonkeyPatch) -> None:
        plain = SecretStreams.words

        def words(self: SecretStreams, **place: int) -> torch.Tensor:
            self._last_use = -1
            return plain(self, **place)

        monkeypatch.setattr(SecretStreams, "words", words)
        self.check_breaks(13, "drawn twice")

    def test_14_keys_made_of_what_was_sent(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def streams(private: Any, rank: int, peer: int, public: torch.Tensor) -> SecretStreams:
            both = private.public_key().public_bytes_raw(), public.numpy().tobytes()
            return SecretStreams(min(both)[:16])

        monkeypatch.setattr("protocols.zero_sharing._pair_streams", streams)
        self.check_breaks(14, "was sent in clear")


class TestMendedCrypten:
    """A counterexample is gone when what it shows is mended."""

    def test_an_exact_decoder_shows_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(FixedPointEncoder, "decode", lambda self, words: words * UNIT)
        assert BY_NUMBER[1].counterexample() is None

    def test_other_keys_for_every_pair_show_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(stock, "stock_leaks", hardened_leaks)
        assert BY_NUMBER[2].counterexample() is None

    def test_seeds_of_64_bits_show_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        plain = crypten.manual_seed
        monkeypatch.setattr(crypten, "manual_seed", lambda seed, *others: plain(seed ^ (seed >> 32), *others))
        assert BY_NUMBER[3].counterexample() is None

    def test_an_encoder_that_rounds_shows_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(FixedPointEncoder, "encode", lambda self, values: FixedPoint().encode(values, terms=1))
        assert stock.encoding_is_biased() is None

    def test_an_encoder_that_makes_nothing_of_nan_shows_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(FixedPointEncoder, "encode", lambda self, values: torch.zeros_like(values).long())
        assert BY_NUMBER[7].counterexample() is None

    def test_seeds_that_are_not_the_keys_show_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """All parties turn each seed into the same other one before they use it."""
        plain = torch.Generator
        made = lambda: SimpleNamespace(manual_seed=lambda seed: plain().manual_seed(int(seed) ^ 1))  # noqa: E731
        monkeypatch.setattr(stock, "torch", SimpleNamespace(Generator=made, tensor=torch.tensor))
        assert BY_NUMBER[14].counterexample() is None

    @pytest.mark.parametrize(
        ("number", "said"),
        [
            (4, [[0.0, 0.0]]),
            (5, [6.0, 6.0, 6.0]),
            (6, [(1.0, 1.0, 2.0**32)]),
            (8, [(64, 32, 1)] * 3),
            (10, [(False, 1800.0)]),
            (10, [(True, 5.0)]),
            (12, [[5e8] * 256]),
            (13, [6.0, 6.0, 6.0]),
        ],
    )
    def test_parties_that_say_what_is_right_show_nothing(self, number: int, said: list[object]) -> None:
        context = SimpleNamespace(run_multiprocess=lambda parties: lambda work: lambda: said)
        assert worlds.EXPERIMENTS[number](SimpleNamespace(mpc=SimpleNamespace(context=context))) is None


class TestInterpreterOfItsOwn:
    def test_an_experiment_that_broke_is_an_error_and_not_a_mended_defect(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(fresh, "_experiments", lambda: {"lines": {}, "broken": {"5": "no such attribute"}})
        with pytest.raises(RuntimeError, match="defect 5 broke:\nno such attribute"):
            fresh.counterexample(5)

    def test_an_interpreter_that_fails_says_why(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(fresh, "_SCRIPT", "raise ImportError('no CrypTen here')")
        with pytest.raises(RuntimeError, match="no CrypTen here"):
            fresh._experiments.__wrapped__()

    def test_an_interpreter_that_hangs_is_ended(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(fresh, "_SCRIPT", "import time; time.sleep(600)")
        monkeypatch.setattr(fresh, "_DEADLINE_S", 0.1)
        with pytest.raises(subprocess.TimeoutExpired):
            fresh._experiments.__wrapped__()


def neighbours_of_a_victim(parties: int) -> set[frozenset[int]]:
    """Both ring neighbours of each party."""
    return {frozenset({(victim - 1) % parties, (victim + 1) % parties}) for victim in range(parties)}


class TestSecrecyOfTheSharesOfZero:
    @pytest.mark.parametrize("parties", [3, 4, 5])
    def test_stock_two_ring_neighbours_together_learn_the_update_between_them(self, parties: int) -> None:
        leaking = {frozenset(each) for each in stock_leaks(parties)}
        pairs = neighbours_of_a_victim(parties) if parties > 3 else set()
        assert {each for each in leaking if len(each) == 2} == pairs, MENDED
        assert len(leaking) == {3: 0, 4: 2, 5: 10}[parties], MENDED
        assert all(any(pair <= each for pair in pairs) for each in leaking)

    @pytest.mark.parametrize("parties", [2, 3, 4, 5])
    def test_with_a_key_for_every_pair_no_coalition_learns_more_than_the_sum(self, parties: int) -> None:
        assert hardened_leaks(parties) == []

    def test_a_missing_pair_is_seen(self) -> None:
        """A planted bug: parties 0 and 1 of four share no key, so 2 and 3 hold all keys of both."""
        leaking = leaking_coalitions(4, pair_holders(4), lambda bits: hardened_masks(4, (0, *bits[1:])))
        assert leaking == [(2, 3)]

    def test_masks_that_do_not_use_their_keys_are_seen(self) -> None:
        assert (0,) in leaking_coalitions(3, pair_holders(3), lambda bits: [0, 0, 0])


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
        values = (1000 + torch.arange(128, dtype=torch.float64) / 64) * UNIT
        cut = FixedPointEncoder().encode(values)
        rounded = FixedPoint().encode(values, terms=1)
        assert float((cut * UNIT - values).mean()) == -63 / 128 * UNIT, MENDED
        assert float((rounded * UNIT - values).mean()) == 0.0

    @pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
    def test_stock_turns_a_number_that_is_none_into_a_huge_one_and_we_refuse_it(self, bad: float) -> None:
        word = int(FixedPointEncoder().encode(torch.tensor([bad])))
        assert abs(word) >= 2**62, MENDED
        with pytest.raises(NotEncodableError):
            FixedPoint().encode(torch.tensor([bad]), terms=1)
