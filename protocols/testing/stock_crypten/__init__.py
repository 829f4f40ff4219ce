"""The known defects of stock CrypTen 0.4.1 that concern sums: a counterexample each, and what our engine holds instead.

The numbers are those of the verification report. A counterexample runs CrypTen itself: its encoder, seeds and shares
in this process (`stock`), its communication in an interpreter of its own that imports nothing of Cloister (`fresh`,
`worlds`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from protocols.testing.stock_crypten import fresh, hardened, stock

__all__ = ["DEFECTS", "Defect"]


@dataclass(frozen=True, kw_only=True)
class Defect:
    """One defect of CrypTen and the promise that our engine keeps instead.

    `counterexample` returns one line with the values seen, or None where this CrypTen no longer shows the defect.
    `held` returns in a few words how the promise was checked; it raises AssertionError where it is broken.
    """

    number: int
    title: str
    counterexample: Callable[[], str | None]
    promise: str
    held: Callable[[], str]


def _cut_and_truncated() -> str | None:
    """Both halves of defect 12: one unit too few while encoding, 2^32 too many or too few while dividing."""
    found = [line for line in (fresh.counterexample(12), stock.encoding_is_biased()) if line]
    return "; ".join(found) or None


DEFECTS: tuple[Defect, ...] = (
    Defect(
        number=1,
        title="Decoding is off by one for some negative numbers.",
        counterexample=stock.decoding_is_off_by_one,
        promise="Decoding is exact, and inverts encoding.",
        held=hardened.decoding_inverts_encoding,
    ),
    Defect(
        number=2,
        title="From four parties on, the two ring neighbours of a party together learn its update.",
        counterexample=stock.neighbours_learn_an_update,
        promise="No coalition learns more than the sum and its own inputs: every pair of parties has its own key.",
        held=hardened.neighbours_learn_nothing,
    ),
    Defect(
        number=3,
        title="Masks have 32 bits of entropy, from a generator that is not cryptographic.",
        counterexample=stock.seeds_have_32_bits,
        promise="Masks are AES-128 key streams; all 128 bits of a key change every word.",
        held=hardened.every_key_bit_counts,
    ),
    Defect(
        number=4,
        title="The default provider shows party 0 both operands of every product.",
        counterexample=partial(fresh.counterexample, 4),
        promise="A sum needs no product and no dealer; no single party sees more than the sum.",
        held=hardened.nothing_is_dealt_in_the_clear,
    ),
    Defect(
        number=5,
        title="One party shifts a sum for all by shifting its share, unseen.",
        counterexample=partial(fresh.counterexample, 5),
        promise="Parties that open different sums are noticed; that a shifted share is not, `additive` states itself.",
        held=hardened.a_forked_sum_is_noticed,
    ),
    Defect(
        number=6,
        title="Clipping by the inverse norm fails open, and a squared norm wraps around.",
        counterexample=partial(fresh.counterexample, 6),
        promise="Members clip in the clear, for any finite norm; what could wrap a sum around is refused.",
        held=hardened.clipping_and_bounds_hold_for_any_size,
    ),
    Defect(
        number=7,
        title="One NaN or infinity becomes a huge number and takes over the sum.",
        counterexample=stock.not_a_number_enters_the_sum,
        promise="NaN and infinities are refused before anything is encoded.",
        held=hardened.not_a_number_is_refused,
    ),
    Defect(
        number=8,
        title="The byte counter is wrong by 2 (n - 1) / n for n > 2 parties; rounds count calls.",
        counterexample=partial(fresh.counterexample, 8),
        promise="Bytes are counted where they leave, rounds are the longest chain of dependent messages.",
        held=hardened.bytes_and_rounds_are_what_crosses,
    ),
    Defect(
        number=9,
        title="With parties in threads, shares of zero do not add up to zero.",
        counterexample=partial(fresh.counterexample, 9),
        promise="Parties in threads open the exact sum.",
        held=hardened.threads_open_the_exact_sum,
    ),
    Defect(
        number=10,
        title="One stopped party stops all others for half an hour.",
        counterexample=partial(fresh.counterexample, 10),
        promise="A silent party ends the sum with PartyTimeoutError at its deadline.",
        held=hardened.a_silent_party_ends_at_the_deadline,
    ),
    Defect(
        number=11,
        title="The failure of a party is returned as None, and a large result never comes back.",
        counterexample=partial(fresh.counterexample, 11),
        promise="The caller gets the error of the party that failed, and results of any size.",
        held=hardened.a_failure_reaches_the_caller,
    ),
    Defect(
        number=12,
        title="Weighting a sum is off by 2^32 now and then, and encoding cuts towards zero.",
        counterexample=_cut_and_truncated,
        promise="Encoding rounds to nearest without bias; means are taken in the clear, after the sum is open.",
        held=hardened.rounding_and_means_are_exact,
    ),
    Defect(
        number=13,
        title="One mask drawn too many at one party garbles all later sums, without an error.",
        counterexample=partial(fresh.counterexample, 13),
        promise="Masks are drawn by number, each once: a draw too many changes nothing, a wrong size is an error.",
        held=hardened.draws_have_addresses,
    ),
    Defect(
        number=14,
        title="Seeds cross the wire in clear: who reads it unmasks every update.",
        counterexample=stock.wire_shows_an_update,
        promise="No key crosses the wire (X25519), and all messages together show no more than the sum.",
        held=hardened.wire_shows_no_key,
    ),
)
"""All defects that concern sums, by number."""
