"""Parties as processes that talk over TCP on loopback, started once and kept."""

import contextlib
import multiprocessing
import secrets
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from types import TracebackType
from typing import Any

from torch import Tensor

from protocols import check, network, party_process
from protocols.check import CloisterError
from protocols.input_memory import InputMemory, SentDescriptor
from protocols.mesh import TOKEN_BYTES, accept_parties
from protocols.model_digest import Models
from protocols.network import (
    BOARD,
    CheatingDetectedError,
    NetworkError,
    PartyCrashedError,
    PartyFailedError,
    PartyTimeoutError,
)
from protocols.parties import OpenedSums, check_batch, run_board, the_cause, total
from protocols.party_process import receive_json, send_json
from protocols.registry import Spec
from protocols.sealed_link import seal_link, shown_token
from protocols.secure_sum import Board, Opened
from protocols.tcp_link import TcpLink
from protocols.types import Cost, Traffic

__all__ = ["PartyPool"]

_ERRORS: Mapping[str, type[Exception]] = {
    error.__name__: error
    for error in (
        NetworkError,
        PartyCrashedError,
        PartyTimeoutError,
        network.OutOfStepError,
        network.TooFewPartiesError,
        CloisterError,
    )
}


@dataclass(frozen=True, kw_only=True)
class _Child:
    process: ForkServerProcess
    control: Connection
    memory: InputMemory


class PartyPool:
    """A pool of party processes on this machine; slot j plays member j of every cluster.

    Threat model: the pool is the bench, not a party: it starts the parties and hands each its own words. The
    processes share one machine, so they measure a protocol; they do not protect anything from that machine. What
    plain and sealed links (`sealed`) keep from others who use its loopback interface is in `sealed_link`.

    Guarantees:
        A batch returns the exact sums or raises a typed error within the deadline.
        After a failed batch all party processes are stopped, and the next batch starts new ones with new keys.
        Party processes end when the pool's process ends, however it ends.
    """

    def __init__(self, parties: int, *, deadline_s: float = 60.0, sealed: bool = False) -> None:
        check.integer_at_least(1, parties=parties)
        check.positive(deadline_s=deadline_s)
        self.parties = parties
        self._deadline_s = deadline_s
        self._sealed = sealed
        self._children: list[_Child] = []
        self._board: TcpLink | None = None
        self._use = 0

    def __enter__(self) -> "PartyPool":
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    @property
    def pids(self) -> list[int]:
        """The process number of each running party."""
        return [child.process.pid for child in self._children if child.process.pid is not None]

    def start(self) -> TcpLink:
        """Start the party processes unless they run, and return the board's link to them."""
        if self._board is None:
            try:
                self._board = self._start()
            except BaseException:
                self.stop()
                raise
        return self._board

    def stop(self) -> None:
        """Stop all party processes at once; nothing that they hold is of use after a failure."""
        for child in self._children:
            child.control.close()
            child.process.kill()
        for child in self._children:
            child.process.join()
            child.process.close()
            child.memory.close()
        self._children = []
        if self._board is not None:
            self._board.close()
            self._board = None

    def open_sums(self, protocol: Spec, words: Tensor, models: Models | None = None) -> OpenedSums:
        """See Parties.open_sums."""
        shape = check_batch(protocol, words, self.parties)
        models = Models.given(models, members=shape[1])
        if not all(child.process.is_alive() for child in self._children):
            self.stop()  # a party that died while nothing ran costs nobody a batch
        board = self.start()
        try:
            return self._open_sums(board, protocol, words, models)
        except BaseException:
            self.stop()
            raise

    def _open_sums(self, link: TcpLink, protocol: Spec, words: Tensor, models: Models) -> OpenedSums:
        clusters, members, coordinates = words.shape
        children = self._children[:members]
        self._use += 1
        batch = {
            "protocol": protocol.name,
            "parameters": protocol.parameters,
            "use": self._use,
            "clusters": clusters,
            "members": members,
            "coordinates": coordinates,
        }
        for slot, child in enumerate(children):
            child.memory.write(words[:, slot])
            with _as_crash(slot):
                send_json(child.control, {**batch, "model": models.held[slot].hex()})
        board = Board(
            link=link,
            parties=members,
            use=self._use,
            clusters=clusters,
            coordinates=coordinates,
            model=models.announced,
        )
        return self._opened(link, protocol, board, children)

    def _opened(self, link: TcpLink, protocol: Spec, board: Board, children: Sequence[_Child]) -> OpenedSums:
        failure: NetworkError | None = None
        opened: Opened | None = None
        try:
            opened = run_board(protocol, board)
        except NetworkError as error:
            failure = error
            link.close()  # no member need wait for a board that has given up
        replies, errors = self._replies(children)
        if failure is not None:
            raise the_cause(failure, errors)
        assert opened is not None
        for error in errors:
            if isinstance(error, PartyFailedError | CloisterError):
                raise error  # a mistake in the code or the question is not a fault to be tolerated
        if errors or link.lost or any(reply["lost"] for reply in replies):
            self.stop()  # the sums are there, but not all parties are; the next batch starts new ones
        traffic = [_traffic(reply["traffic"]) for reply in replies]
        return OpenedSums(
            sums=opened.sums,
            contributors=opened.contributors,
            suspects=opened.suspects,
            kept=opened.kept,
            traffic=total([*traffic, link.meter.traffic()]),
        )

    def _start(self) -> TcpLink:
        context = multiprocessing.get_context("forkserver")
        # The fork server imports CrypTen once; each party is a fork of it and starts in milliseconds.
        context.set_forkserver_preload(["protocols.party_process", "protocols.crypten_engine"])
        for rank in range(self.parties):
            ours, theirs = context.Pipe()
            memory = InputMemory.create()
            process = context.Process(
                target=party_process.serve,
                args=(theirs, SentDescriptor(memory.descriptor), rank, self._deadline_s),
                name=f"party-{rank}",
                daemon=True,
            )
            process.start()
            theirs.close()
            self._children.append(_Child(process=process, control=ours, memory=memory))
        return self._connect()

    def _connect(self) -> TcpLink:
        token = secrets.token_bytes(TOKEN_BYTES)
        ports = [reply["port"] for reply in self._all_replies(self._children)]
        with socket.create_server(("127.0.0.1", 0)) as listener:
            board_port = listener.getsockname()[1]
            start = {"token": token.hex(), "sealed": self._sealed, "ports": ports, "board_port": board_port}
            for slot, child in enumerate(self._children):
                with _as_crash(slot):
                    send_json(child.control, start)
            shown = shown_token(token) if self._sealed else token
            sockets = accept_parties(listener, shown, range(len(ports)), deadline_s=self._deadline_s)
        board = TcpLink(BOARD, sockets, deadline_s=self._deadline_s)
        try:
            if self._sealed:
                seal_link(board, token)
            self._all_replies(self._children)
        except BaseException:
            board.close()
            raise
        return board

    def _all_replies(self, children: Sequence[_Child]) -> list[dict[str, Any]]:
        """Return one good reply from each child."""
        replies, errors = self._replies(children)
        for error in errors:
            raise error
        return replies

    def _replies(self, children: Sequence[_Child]) -> tuple[list[dict[str, Any]], list[Exception]]:
        """Return the good replies, and the errors of the children that failed or do not answer in time."""
        deadline = time.monotonic() + self._deadline_s
        replies: list[dict[str, Any]] = []
        errors: list[Exception] = []
        for slot, child in enumerate(children):
            try:
                reply = self._reply(slot, child, deadline)
            except NetworkError as error:
                errors.append(error)
                continue
            if reply.get("ok", True):
                replies.append(reply)
            else:
                errors.append(_error(reply))
        return replies, errors

    def _reply(self, slot: int, child: _Child, deadline: float) -> dict[str, Any]:
        with _as_crash(slot):
            # A party notices a silent peer at the deadline; its own report of that needs a moment longer.
            if not child.control.poll(max(0.0, deadline - time.monotonic()) + 2.0):
                raise PartyTimeoutError(f"party {slot} sent no report for {self._deadline_s} s")
            return receive_json(child.control)


@contextlib.contextmanager
def _as_crash(slot: int):
    try:
        yield
    except (EOFError, ConnectionError):
        raise PartyCrashedError(f"the process of party {slot} ended") from None


def _error(reply: dict[str, Any]) -> Exception:
    """Return the error that a party reports."""
    if reply["kind"] == CheatingDetectedError.__name__:
        return CheatingDetectedError(reply["text"], suspects=frozenset(reply["suspects"]))
    kind = _ERRORS.get(reply["kind"])
    return PartyFailedError(f"{reply['kind']}: {reply['text']}") if kind is None else kind(reply["text"])


def _traffic(plain: Mapping[str, Any]) -> Traffic:
    return Traffic(offline=Cost(**plain["offline"]), mpc=Cost(**plain["mpc"]), upload=Cost(**plain["upload"]))
