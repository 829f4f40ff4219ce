"""Flower's SecAgg+: its workflow on the board, its client mod in each member, its serialised messages between them.

Every step is flwr's own: `SecAggPlusWorkflow` decides what is asked of whom and takes off the masks,
`secaggplus_mod` answers. What is ours is the grid under them (our links, so that members can crash in any exchange),
the client's update, and the translation of words: with num_examples = max_weight and a clipping range of half the
quantisation range, flwr's quantisation of a whole number is exact, and so is its mean times the number of results.

With generator = "ideal" the masks are streams of our own under the hash of flwr's seed: everything else that flwr
does is then within reach of the exact checks of secrecy, while "numpy" is flwr as it comes.
"""

import contextvars
import hashlib
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from protocols import check
from protocols.check import CloisterError
from protocols.network import BOARD, HEADER_BYTES, TooFewPartiesError, raise_lost
from protocols.randomness import SecretStreams
from protocols.ring import FixedPoint
from protocols.secure_sum import Board, Opened, Party, secure_sums
from protocols.tolerance.conditions import Conditions, conditions_of
from protocols.types import Cost, Traffic
from tests.systems.adapters._flwr import (
    MAIN_CONFIGS_RECORD,
    MAIN_PARAMS_RECORD,
    RECORD_KEY_CONFIGS,
    Code,
    ConfigRecord,
    Context,
    DecodeError,
    Error,
    ErrorCode,
    FitIns,
    FitRes,
    GridClientProxy,
    Key,
    LegacyContext,
    Message,
    Parameters,
    RecordDict,
    Stage,
    Status,
    TaskIdentity,
    Wire,
    WorkflowKey,
    bytes_to_ndarray,
    client,
    message_from_proto,
    message_to_proto,
    ndarray_to_bytes,
    ndarrays_to_parameters,
    parameters_to_ndarrays,
    recorddict_compat,
    server,
)
from tests.systems.adapters._flwr_checks import (
    masks_are_uniform,
    needs_ideal_masks,
    seeds_are_wide,
    unmasks_one_of_both,
)

logging.getLogger("flwr").setLevel(logging.CRITICAL)  # it reports each stage of each round

_STAGES = len(Stage.all())
_MASKED_STAGE = Stage.all().index(Stage.COLLECT_MASKED_VECTORS)
_SERVER_ID = 2**40  # member j is node j + 1

_WORKFLOW = "SecAggPlusWorkflow's docstring"
_PAGE = "flower.ai/docs/framework/explanation-ref-secure-aggregation-protocols.html"
_CLAIMS = {
    "I1": f"{_WORKFLOW}: 'the secure summation of integer vectors owned by multiple parties'",
    "I3": f"{_WORKFLOW}: parameters within the clipping range are quantised, and the weighted average comes out",
    "I5": f"{_WORKFLOW}: the threshold allows 'the recovery of contributions from dropped clients'",
    "I6": f"{_WORKFLOW}: the weighted average across all clients",
    "I12": f"{_PAGE}: the server decrypts 'only the aggregated model update'; fewer than the threshold may collude",
    "I14": f"{_WORKFLOW}, modulus_range: mask entries 'are uniformly sampled ([0, modulus_range-1])'",
    "I15": f"{_PAGE}: Bonawitz et al. 2017, whose masks are a secure generator's output under keys of full length",
    "I16": f"{_WORKFLOW}: 'individual contributions remain private'",
    "I19": f"{_PAGE}: SecAgg of Bonawitz et al. 2017, where a client's self-mask or mask key is rebuilt, never both",
    "I20": f"{_WORKFLOW}: each client masks with its neighbours",
    "I22": f"{_WORKFLOW}: 'individual contributions remain private'",
    "I23": f"{_WORKFLOW}: 'individual contributions remain private'",
    "I25": f"{_WORKFLOW}: 'higher num_shares means more robust to dropouts'; as long as the threshold stays",
    "I32": f"{_WORKFLOW}: dropouts are tolerated as long as the threshold of shares stays",
}
_VIOLATES = {
    "I14": "randint leaves out its upper end: no mask entry is modulus_range - 1.",
    "I15": "The 32 bytes of a seed are folded to 32 bits; of a pairwise seed, which is text, 28 are left.",
    "I19": "A client answers for the lists that the server gives it, and a client on both is given away whole.",
    "I25": "A client that is lost before its shares are handed on stops the round: the others are asked for shares of "
    "it that they do not have.",
}

_shape: contextvars.ContextVar[tuple[int, int] | None] = contextvars.ContextVar("shape", default=None)
_numpy_generator = client.pseudo_rand_gen


def _generator(seed: bytes, num_range: int, dimensions_list: list[tuple[int, ...]]) -> list[Any]:
    """Return flwr's masks, or, for the update's words where a party plays with ideal ones, a stream of ours."""
    shape = _shape.get()
    masks = _numpy_generator(seed, num_range, dimensions_list)
    if shape is None:
        return masks
    words = SecretStreams(hashlib.sha256(seed).digest()[:16]).words(use=0, lanes=shape[0], count=shape[1])
    ideal = np.remainder(words.numpy(), num_range)
    return [ideal if dimension == shape else mask for mask, dimension in zip(masks, dimensions_list, strict=True)]


client.pseudo_rand_gen = server.pseudo_rand_gen = _generator


def _violates(protocol: "FlwrSecaggplus") -> Mapping[str, str]:
    generator = {"I14", "I15"} if protocol.generator == "ideal" else set()
    return {name: why for name, why in _VIOLATES.items() if name not in generator}


def _checks(protocol: "FlwrSecaggplus") -> Mapping[str, object]:
    checks: dict[str, object] = {"I19": unmasks_one_of_both}
    if protocol.generator == "numpy":
        checks |= {"I12": needs_ideal_masks, "I14": masks_are_uniform, "I15": seeds_are_wide, "I20": needs_ideal_masks}
    return checks


@secure_sums.register(
    source="flwr 1.41, SecAggPlusWorkflow and secaggplus_mod, after Bell et al. 2020, CCS",
    examples=({}, {"generator": "ideal"}),
    facts={
        "claims": _CLAIMS,
        "violates": _violates,
        "checks": _checks,
        "scope": "flwr claims nothing against clients that lie, no least number of honest clients and no cost",
    },
)
@dataclass(frozen=True, kw_only=True)
class FlwrSecaggplus:
    """Clients mask their quantised updates in pairs and for themselves; t of them help the server to unmask the sum.

    Threat model: the server and fewer than t clients follow the protocol and pool what they see; clients drop out.
    """

    generator: Literal["numpy", "ideal"] = "numpy"
    threshold: str = "2c/3+1"
    word_bits: int = 22
    fraction_bits: int = 8

    def __post_init__(self) -> None:
        check.integer_at_least(2, word_bits=self.word_bits)
        _ = self.ring, self.conditions

    @property
    def ring(self) -> FixedPoint:
        return FixedPoint.of_bits(self.word_bits, fraction_bits=self.fraction_bits)

    @property
    def conditions(self) -> Conditions:
        return conditions_of("masked", mode="semi_honest", threshold=self.threshold)

    def check_size(self, *, parties: int) -> None:
        most = 2 ** (32 - self.word_bits) - 1
        t = self.conditions.threshold_at(parties) if parties > 2 else 0
        if not (3 <= parties <= most and t >= 2):
            raise CloisterError(
                f"threshold = {self.threshold!r} gives {t} for {parties} clients with words of {self.word_bits} bits; "
                f"allowed by flwr: 3 to {most} clients, a threshold from 2 on"
            )

    def contribute(self, party: Party, words: Tensor) -> None:
        _shape.set(tuple(words.shape) if self.generator == "ideal" else None)
        context = Context(run_id=1, node_id=party.rank + 1, node_config={}, state=RecordDict(), run_config={})
        reply: dict[int, Tensor] = {}
        for stage in range(_STAGES):
            asked = _frame(party.parties)
            party.link.skip({0: 0, _MASKED_STAGE + 1: 2}.get(stage, 1))  # the board first hears all clients
            raise_lost(party.link.try_exchange(reply, {BOARD: asked}))
            message = _opened(asked)
            if message is None:
                return  # the server asks no more of this client
            answer, masked = _answered(message, context, words)
            if stage == _MASKED_STAGE:
                raise_lost(party.link.try_exchange({BOARD: masked}, {}))
            reply = {BOARD: _sealed(answer, party.parties)}
        raise_lost(party.link.try_exchange(reply, {}))

    def collect(self, board: Board) -> Opened:
        _shape.set((board.clusters, board.coordinates) if self.generator == "ideal" else None)
        TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, 1, _SERVER_ID
        strategy = _Strategy(board.parties)
        context = LegacyContext(
            Context(run_id=1, node_id=_SERVER_ID, node_config={}, state=RecordDict(), run_config={}), strategy=strategy
        )
        context.state.config_records[MAIN_CONFIGS_RECORD] = ConfigRecord({WorkflowKey.CURRENT_ROUND: 1})
        context.state.array_records[MAIN_PARAMS_RECORD] = recorddict_compat.parameters_to_arrayrecord(
            Parameters(tensors=[], tensor_type="numpy.ndarray"), keep_input=True
        )
        self._workflow(board.parties)(_Grid(board), context)
        if strategy.mean is None:
            raise TooFewPartiesError("flwr's workflow halted: too few clients, or too few shares of one of them")
        sums = torch.from_numpy(np.rint(strategy.mean * len(strategy.contributors)).astype(np.int64))
        return Opened(sums=self.ring.wrap(sums), contributors=strategy.contributors)

    def cost(self, *, parties: int, clusters: int, coordinates: int) -> Traffic:
        payload_bytes = parties * (2 * _STAGES * _frame(parties).numel() + 8 * clusters * coordinates)
        messages = parties * (2 * _STAGES + 1)
        return Traffic(
            offline=Cost.none(),
            mpc=Cost.none(),
            upload=Cost(
                payload_bytes=payload_bytes,
                wire_bytes=payload_bytes + HEADER_BYTES * messages,
                messages=messages,
                rounds=2 * _STAGES,
            ),
        )

    def _workflow(self, parties: int) -> Any:
        return server.SecAggPlusWorkflow(
            num_shares=1.0,
            reconstruction_threshold=self.conditions.threshold_at(parties),
            max_weight=1.0,
            clipping_range=2.0 ** (self.word_bits - 1),
            quantization_range=2**self.word_bits,
            timeout=60.0,
        )


def _frame(parties: int) -> Tensor:
    """Return an empty frame that holds any message of a round: two keys, two shares and an id for each client."""
    return torch.zeros(2048 + 1536 * parties, dtype=torch.uint8)


def _sealed(message: Message | None, parties: int) -> Tensor:
    """Return the frame of a message: its length, its bytes, zeros. None is an empty message."""
    data = b"" if message is None else message_to_proto(message).SerializeToString(deterministic=True)
    frame = _frame(parties)
    if len(data) + 8 > frame.numel():
        raise CloisterError(f"a message of flwr has {len(data)} bytes; allowed: {frame.numel() - 8}, or larger frames")
    frame[: len(data) + 8] = torch.frombuffer(bytearray(len(data).to_bytes(8, "little") + data), dtype=torch.uint8)
    return frame


def _opened(frame: Tensor) -> Message | None:
    """Return the message in a frame; None where there is none, or bytes that are no message: nothing has come."""
    data = frame.numpy().tobytes()
    length = int.from_bytes(data[:8], "little")
    try:
        return message_from_proto(Wire.FromString(data[8 : 8 + length])) if length else None
    except DecodeError:
        return None


def _answered(message: Message, context: Context, words: Tensor) -> tuple[Message, Tensor]:
    """Return the client's reply without its masked words, and these; an error of its app is an error message."""
    masked = torch.zeros_like(words)
    try:
        reply = client.secaggplus_mod(message, context, lambda asked, _: _fitted(asked, words))
    except Exception as error:  # what flwr's client runtime does with whatever an app raises
        return Message(Error(ErrorCode.CLIENT_APP_RAISED_EXCEPTION, repr(error)), reply_to=message), masked
    record = reply.content.config_records[RECORD_KEY_CONFIGS]
    if Key.MASKED_PARAMETERS in record:
        weight, update = record[Key.MASKED_PARAMETERS]
        record[Key.MASKED_PARAMETERS] = [weight]
        masked = torch.from_numpy(bytes_to_ndarray(update).astype(np.int64))
    return reply, masked.view_as(words)


def _fitted(asked: Message, words: Tensor) -> Message:
    update = ndarrays_to_parameters([words.numpy().astype(np.float64)])
    result = FitRes(Status(Code.OK, ""), update, num_examples=1, metrics={})
    return Message(recorddict_compat.fitres_to_recorddict(result, keep_input=True), reply_to=asked)


class _Grid:
    """flwr's Grid, as far as the workflow uses it, over the board's links."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._stage = 0

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
        """Return the replies that come in time, in the order of the nodes."""
        board = self._board
        asked = {message.metadata.dst_node_id - 1: message for message in messages}
        board.link.try_exchange({rank: _sealed(asked.get(rank), board.parties) for rank in range(board.parties)}, {})
        updates = {rank: torch.zeros(board.clusters, board.coordinates, dtype=torch.int64) for rank in sorted(asked)}
        lost = dict(board.link.try_exchange({}, updates) if self._stage == _MASKED_STAGE else {})
        frames = {rank: _frame(board.parties) for rank in sorted(asked)}
        lost.update(board.link.try_exchange({}, frames))
        self._stage += 1
        replies = {rank: _opened(frame) for rank, frame in frames.items() if rank not in lost}
        return [_restored(reply, updates[rank]) for rank, reply in replies.items() if reply is not None]


def _restored(reply: Message, update: Tensor) -> Message:
    """Return the reply with the masked words that were sent beside it."""
    record = reply.content.config_records[RECORD_KEY_CONFIGS] if reply.has_content() else {}
    if Key.MASKED_PARAMETERS in record:
        record[Key.MASKED_PARAMETERS] = [*record[Key.MASKED_PARAMETERS], ndarray_to_bytes(update.numpy())]
    return reply


class _Strategy:
    """The part of a flwr strategy that the workflow calls: everybody fits, and the mean is kept."""

    def __init__(self, parties: int) -> None:
        self._parties = parties
        self.mean: Any = None
        self.contributors: tuple[int, ...] = ()

    def configure_fit(self, server_round: int, parameters: Parameters, client_manager: object) -> list[Any]:
        """Return every client with the same instructions."""
        grid: Any = None  # the workflow talks to the grid itself
        ids = range(1, self._parties + 1)
        return [(GridClientProxy(node_id=number, grid=grid, run_id=1), FitIns(parameters, {})) for number in ids]

    def aggregate_fit(self, server_round: int, results: Sequence[Any], failures: object) -> tuple[Any, dict[str, Any]]:
        """Keep the mean, which the workflow puts into every result, and whose results are in it."""
        (self.mean,) = parameters_to_ndarrays(results[0][1].parameters)
        self.contributors = tuple(sorted(proxy.node_id - 1 for proxy, _ in results))
        return None, {}
