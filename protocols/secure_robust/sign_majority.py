"""The sign that most of a cluster's updates have, in every coordinate."""

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from protocols import check
from protocols.ring import FixedPoint
from protocols.secure_robust import robust_statistics
from protocols.secure_robust._access import MOST
from protocols.secure_robust._batch import access_for, bitwise, bitwise_cost, read_words
from protocols.secure_robust._circuits import count, count_layers, greater, greater_layers
from protocols.secure_robust._engine import Engine
from protocols.secure_robust._promises import inputs_conditions
from protocols.secure_sum import Board, Opened, Party
from protocols.tolerance.conditions import Conditions
from protocols.types import Traffic

_BALLOT_BITS = 2


@robust_statistics.register(
    source="Bernstein, Zhao, Azizzadenesheli and Anandkumar 2019, ICLR (signSGD with majority vote)",
    examples=({}, {"bits": 32}, {"threshold": "1", "step": 0.1}),
)
@dataclass(frozen=True, kw_only=True)
class SignMajority:
    """`step` times the majority of the members' signs in every coordinate; zeros abstain, and a tie is 0.

    It stands for no mean: a vote does not tell how long updates are, so every coordinate moves by `step` or not at all,
    as under the rule of this name (`protocols.aggregators`). What opens is -1, 0 or 1; `step` is public.

    Threat model: see `protocols.secure_robust`. Opened is the sign of (positive - negative) alone; neither ballots nor
    counts are. A member's ballot is two bits, so none counts for more than one vote, whatever its input is.

    Guarantees:
        The opened words equal the reference's, for inputs of any words.
        What they stand for equals, bit for bit, what the rule of this name makes of the updates as words.
        While fewer than half of the members are Byzantine, the nonzero sign that all honest members have is the result.
        Where honest members abstain, as few others decide as vote: one alone where all honest members abstain.
        The cost formula equals what the meter counts.
    """

    bits: int = 64
    fraction_bits: int = 16
    threshold: str = MOST
    step: float = 0.01

    def __post_init__(self) -> None:
        check.positive(step=self.step)
        _ = self.ring, self.conditions  # refuse what does not fit

    @property
    def ring(self) -> FixedPoint:
        """The fixed-point ring of the words."""
        return FixedPoint.of_bits(self.bits, fraction_bits=self.fraction_bits)

    @property
    def conditions(self) -> Conditions:
        """See RobustStatistic.conditions."""
        return inputs_conditions("sign_majority", self.threshold, self)

    def breakdown(self, parties: int) -> int:  # noqa: ARG002
        """None: where all honest members abstain, one Byzantine vote decides."""
        return 0

    def check_size(self, *, parties: int) -> None:
        """See RobustStatistic.check_size; 3 members or more."""
        access_for(self.threshold, parties)

    def check_coordinates(self, *, coordinates: int) -> None:
        """See RobustStatistic.check_coordinates; any number."""
        check.integer_at_least(1, coordinates=coordinates)

    def contribute(self, party: Party, words: Tensor) -> None:
        """See RobustStatistic.contribute."""
        signed = self.ring.wrap(words)
        ballots = (signed > 0).long() + 2 * (signed < 0).long()
        access = access_for(self.threshold, party.parties)
        bitwise(party, access, ballots, _majority, taken=_BALLOT_BITS, live=_live(party.parties))

    def collect(self, board: Board) -> Opened:
        """See RobustStatistic.collect."""
        return Opened(sums=read_words(board), contributors=tuple(range(board.parties)))

    def reference(self, words: Tensor) -> Opened:
        """See RobustStatistic.reference."""
        return Opened(sums=self.ring.wrap(words).sign().sum(dim=1).sign(), contributors=tuple(range(words.shape[1])))

    def decode(self, opened: Opened, *, parties: int) -> Tensor:  # noqa: ARG002
        """Return `step` times the signs."""
        return self.step * opened.sums.double()

    def cost(self, *, parties: int, clusters: int, coordinates: int) -> Traffic:
        """Fewer than 2 c ANDs a coordinate to count, about 6 log2(c) to compare."""
        access = access_for(self.threshold, parties)
        return bitwise_cost(
            access,
            clusters,
            coordinates,
            _layers(parties),
            taken=_BALLOT_BITS,
            live=_live(parties),
            comparisons=_BALLOT_BITS,  # each side of the vote with the other
        )


def _majority(engine: Engine, ballots: Tensor) -> Tensor:
    """Return the opened planes (clusters, 2, words) of a signed number: the sign of the vote."""
    votes = engine.share_inputs(ballots)
    clusters, n, _, words = votes.shape
    # One row a side of the vote, the members as planes.
    sides = engine.join([votes.take(2, [side]).view(clusters, 1, n, words) for side in range(_BALLOT_BITS)], 1)
    counts = count(engine, sides)
    won = greater(engine, counts, counts.take(1, [1, 0])).view(clusters, _BALLOT_BITS, words)
    more, fewer = won.take(1, [0]), won.take(1, [1])
    return engine.reveal(engine.join([engine.add(more, fewer), fewer], 1))


def _layers(parties: int) -> Iterator[int]:
    yield from (_BALLOT_BITS * each for each in count_layers(parties))
    yield from (_BALLOT_BITS * each for each in greater_layers(parties.bit_length()))
    yield _BALLOT_BITS


def _live(parties: int) -> int:
    return _BALLOT_BITS * parties
