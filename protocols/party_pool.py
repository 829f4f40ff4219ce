"""Parties as processes that talk over TCP on loopback, started once and kept."""

import contextlib
import secrets
import socket
import time
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any

from torch import Tensor

from protocols import check
from protocols.check import CloisterError
from protocols.faults import pauses
from protocols.faulty_link import Fault
from protocols.mesh import TOKEN_BYTES, accept_parties
from protocols.model_digest import Models
from protocols.network import BOARD, NetworkError, PartyCrashedError, PartyFailedError, PartyTimeoutError
from protocols.parties import NO_FAULTS, OpenedSums, next_number, run_board, the_cause, total
from protocols.party_batch import PartyBatch
from protocols.party_child import Child, as_crash, end_children, start_child
from protocols.party_company import PartyCompany
from protocols.party_process import receive_json, send_json
from protocols.party_report import error_of, traffic_of
from protocols.registry import Spec
from protocols.sealed_link import seal_link, shown_token
from protocols.secure_sum import Opened
from protocols.tcp_link import TcpLink
from protocols.types import Traffic

__all__ = ["PartyPool"]

_MOST_WAITS = 32
"""How many deadlines a party may have to wait for others who misbehave, or pause, before it can report."""


class PartyPool:
    """A pool of party processes on this machine; slot j plays member j of every cluster.

    Threat model: the pool is the bench, not a party: it starts the parties and hands each its own words. The
    processes share one machine, so they measure a protocol; they do not protect anything from that machine. What
    plain and sealed links (`sealed`) keep from others who use its loopback interface is in `sealed_link`.

    Guarantees:
        A batch returns the exact sums or raises a typed error within a bounded number of deadlines.
        After a batch that lost a party, all processes join anew, with new links and new keys; one that has died, or
            does not answer, is replaced by a new one.
        After an error that is none of the network's all processes are stopped, and the next batch starts new ones.
        Faulty parties change what they send in their own processes; what that leaves unread is gone in the next batch.
        A batch whose number is not larger than all before it gets new keys, so that nothing is ever drawn twice.
        Party processes end when the pool's process ends, however it ends.
    """

    def __init__(self, parties: int, *, deadline_s: float = 60.0, sealed: bool = False) -> None:
        check.integer_at_least(1, parties=parties)
        check.positive(deadline_s=deadline_s)
        self.parties = parties
        self._deadline_s = deadline_s
        self._sealed = sealed
        self._children: list[Child] = []
        self._owing: set[int] = set()
        self._board: TcpLink | None = None
        self._last = 0
        self._drawn = 0
        self._keys_stay = False
        self._companies = 0
        self._forgotten: list[int] = []
        self._spent = Traffic.none()

    def __enter__(self) -> "PartyPool":
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    @property
    def deadline_s(self) -> float:
        """How many seconds a party waits for another one."""
        return self._deadline_s

    @property
    def pids(self) -> list[int]:
        """The process number of each running party."""
        return [child.process.pid for child in self._children if child.process.pid is not None]

    @property
    def spent(self) -> Traffic:
        """See Parties.spent; a process that died has told nothing of its own."""
        return self._spent

    def start(self) -> TcpLink:
        """Start the party processes that do not run, join all of them unless they are, and return the board's link."""
        if self._board is not None and all(child.is_alive for child in self._children):
            return self._board
        kept = bool(self._children)
        try:
            self._board = self._join()
        except BaseException as error:
            self.stop()
            if not (kept and isinstance(error, NetworkError)):
                raise
            return self.start()  # one that was kept has died since; now all are new
        return self._board

    def stop(self) -> None:
        """Stop all party processes at once."""
        end_children(self._children)
        self._children = []
        self._owing.clear()
        self._hang_up()

    def open_sums(
        self,
        protocol: Spec,
        words: Tensor,
        *,
        number: int | None = None,
        faults: Mapping[int, Fault] = NO_FAULTS,
        models: Models | None = None,
        memory: int | None = None,
    ) -> OpenedSums:
        """See Parties.open_sums; who crashes is back in the next batch. `memory`: see `company`."""
        batch = PartyBatch.given(protocol, words, models, faults, memory=memory, most_parties=self.parties)
        self._last = next_number(number, self._last)
        board = self.start()
        try:
            if self._last <= self._drawn:
                self._renew_keys()
            self._drawn = self._last
            return self._open_sums(board, batch)
        except PartyFailedError:
            self.stop()
            raise
        except NetworkError:
            self._give_up(batch)
            raise
        except BaseException:
            self.stop()
            raise

    def company(self) -> PartyCompany:
        """Return the parties as members of a cluster who remember what they have sent in its batches."""
        self._companies += 1
        return PartyCompany(self, self._companies, self._forgotten.append)

    def _renew_keys(self) -> None:
        for slot, child in enumerate(self._children):
            self._tell(slot, child, {"order": "agree"})
        self._all_replies()

    def _open_sums(self, link: TcpLink, batch: PartyBatch) -> OpenedSums:
        for slot, child in enumerate(self._children[: batch.members]):
            child.memory.write(batch.words[:, slot])
            self._tell(slot, child, batch.order(slot, use=self._last))
        return self._opened(link, batch)

    def _opened(self, link: TcpLink, batch: PartyBatch) -> OpenedSums:
        failure: NetworkError | None = None
        opened: Opened | None = None
        try:
            opened = run_board(batch.protocol, batch.board(link, use=self._last))
        except NetworkError as error:
            failure = error
            link.close()  # no member need wait for a board that has given up
        replies, errors = self._reports(batch)
        self._spent = total([*(traffic_of(reply) for reply in replies), link.meter.traffic()])
        if failure is not None:
            raise the_cause(failure, errors)
        assert opened is not None
        for error in errors:
            if isinstance(error, PartyFailedError | CloisterError):
                raise error  # a mistake in the code or the question is not a fault to be tolerated
        if errors or link.lost or any(reply["lost"] for reply in replies):
            self._give_up(batch)  # the sums are there, but not all parties are
        elif batch.misbehaves:
            self._hang_up(keys_stay=True)
        return OpenedSums(
            sums=opened.sums,
            contributors=opened.contributors,
            suspects=opened.suspects,
            kept=opened.kept,
            traffic=self._spent,
        )

    def _reports(self, batch: PartyBatch) -> tuple[list[dict[str, Any]], list[Exception]]:
        """Return the reports of a batch whose board has done its work, see _replies.

        Where somebody misbehaves, who has done its own work leaves, so that nobody waits for it any more. Who pauses
        does so until all others have reported: no longer than it makes any difference, and no shorter.
        """
        if not batch.misbehaves:
            return self._replies(range(batch.members))
        reports: list[dict[str, Any]] = []
        errors: list[Exception] = []
        pausing = {slot for slot, fault in batch.faults.items() if pauses(fault)}
        for slots in (sorted(set(range(batch.members)) - pausing), sorted(pausing)):
            for slot in slots:
                with contextlib.suppress(PartyCrashedError), as_crash(slot):
                    send_json(self._children[slot].control, {"order": "over"})
            more = self._replies(slots, waits=_MOST_WAITS)
            reports += more[0]
            errors += more[1]
        return reports, errors

    def _give_up(self, batch: PartyBatch) -> None:
        """Give the links up, the keys, and what members remember of batches of their company."""
        self._hang_up()
        if batch.memory is not None:
            self._forgotten.append(batch.memory)

    def _hang_up(self, *, keys_stay: bool = False) -> None:
        """Give the links up: before the next batch all parties join anew."""
        self._keys_stay = keys_stay
        if self._board is not None:
            self._board.close()
            self._board = None

    def _join(self) -> TcpLink:
        """Replace the processes that are no longer there, start those that never were, and link all."""
        keys_stay = self._keys_stay
        self._hang_up()
        gone = {slot for slot, child in enumerate(self._children) if slot in self._owing or not child.is_alive}
        end_children([self._children[slot] for slot in gone])
        self._owing.clear()
        kept = {slot: child for slot, child in enumerate(self._children) if slot not in gone}
        self._children = list(kept.values())  # what is to be stopped where a start fails
        keys_stay = keys_stay and len(kept) == self.parties
        if not keys_stay:
            self._drawn = 0
        started = {slot: self._start(slot) for slot in range(self.parties) if slot not in kept}
        self._children = [(kept | started)[slot] for slot in range(self.parties)]
        return self._connect(agree=not keys_stay)

    def _start(self, slot: int) -> Child:
        child = start_child(slot, deadline_s=self._deadline_s)
        self._children.append(child)
        return child

    def _connect(self, *, agree: bool) -> TcpLink:
        token = secrets.token_bytes(TOKEN_BYTES)
        for slot, child in enumerate(self._children):
            self._tell(slot, child, {"order": "join"})
        ports = [reply["port"] for reply in self._all_replies()]
        with socket.create_server(("127.0.0.1", 0)) as listener:
            board_port = listener.getsockname()[1]
            start = {"token": token.hex(), "sealed": self._sealed, "ports": ports, "board_port": board_port}
            start |= {"agree": agree, "forget": (forget := self._forgotten[:])}
            for slot, child in enumerate(self._children):
                self._tell(slot, child, start)
            shown = shown_token(token) if self._sealed else token
            sockets = accept_parties(listener, shown, range(len(ports)), deadline_s=self._deadline_s)
        board = TcpLink(BOARD, sockets, deadline_s=self._deadline_s)
        try:
            if self._sealed:
                seal_link(board, token)
            self._all_replies()
        except BaseException:
            board.close()
            raise
        del self._forgotten[: len(forget)]
        return board

    def _tell(self, slot: int, child: Child, message: dict[str, Any]) -> None:
        """Send a message that the child is to answer."""
        self._owing.add(slot)
        with as_crash(slot):
            send_json(child.control, message)

    def _all_replies(self) -> list[dict[str, Any]]:
        """Return one good reply from each child."""
        replies, errors = self._replies(range(self.parties))
        for error in errors:
            raise error
        return replies

    def _replies(self, slots: Iterable[int], *, waits: int = 1) -> tuple[list[dict[str, Any]], list[Exception]]:
        """Return the replies, and the errors of the children that report one or do not answer in time."""
        deadline = time.monotonic() + waits * self._deadline_s
        replies: list[dict[str, Any]] = []
        errors: list[Exception] = []
        for slot in slots:
            try:
                reply = self._reply(slot, self._children[slot], deadline)
            except NetworkError as error:
                errors.append(error)
                continue
            self._owing.discard(slot)
            replies.append(reply)
            if not reply.get("ok", True):
                errors.append(error_of(reply))
        return replies, errors

    def _reply(self, slot: int, child: Child, deadline: float) -> dict[str, Any]:
        with as_crash(slot):
            # A party notices a silent peer at the deadline; its own report of that needs a moment longer.
            if not child.control.poll(max(0.0, deadline - time.monotonic()) + 2.0):
                raise PartyTimeoutError(f"party {slot} sent no report for {self._deadline_s} s")
            return receive_json(child.control)
