"""Parties as threads of this process: the same protocol code and the same bytes, fast and replayable, for tests."""

from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from torch import Tensor

from protocols import check
from protocols.faulty_link import Fault, FaultyLink
from protocols.in_process_link import InProcessLink, Received, in_process_links
from protocols.keyring import Keyring, make_keyring
from protocols.model_digest import Models
from protocols.network import Link, NetworkError
from protocols.parties import NO_FAULTS, OpenedSums, check_batch, next_number, run_board, run_member, the_cause, total
from protocols.registry import Spec
from protocols.secure_sum import Board, Opened, Party
from protocols.types import Traffic

__all__ = ["InProcessParties"]

Result = TypeVar("Result")


class InProcessParties:
    """A pool of `parties` party threads, in virtual time.

    Guarantees:
        It returns the same words and the same traffic as the party processes do.
        The same words, faults and schedule seed give the same outcome, however the threads are scheduled.
        After a batch that lost a party the next one starts with new links and new keys.
        A batch whose number is not larger than all before it gets new keys, so that nothing is ever drawn twice.
    """

    def __init__(
        self,
        parties: int,
        *,
        deadline_s: float = 60.0,
        faults: Mapping[int, Fault] | None = None,
        schedule: int | None = None,
        clean_links: bool = False,
        keyring: Callable[[Link, int], Keyring] = make_keyring,
        links: Callable[[int, float], list[InProcessLink]] | None = None,
    ) -> None:
        """Start the parties; `faults` are what some ranks (BOARD among them) do to the messages that they send.

        The mapping may change between batches, and those of a batch of its own come on top; a fault may send again
        what its rank sent in an older batch of this pool, which is remembered only where the mapping is given.
        `schedule` seeds the time that each message takes; None: no time. `keyring` makes a party's keys. With
        `clean_links`, what a faulty batch leaves unread on the links is gone before the next one, as it is among
        party processes; else the next batch reads it. `links` makes the links of so many parties and the board, with
        that deadline in seconds; None: those of the schedule.
        """
        check.integer_at_least(1, parties=parties)
        check.positive(deadline_s=deadline_s)
        self._parties = parties
        self._deadline_s = deadline_s
        self._faults = faults
        self._schedule = schedule
        self._clean_links = clean_links
        self._keyring = keyring
        self._make_links = links or self._scheduled_links
        self._use = 0
        self._now: Mapping[int, Fault] | None = None
        self._transcripts: dict[int, list[Received]] = {}
        self._spent = Traffic.none()
        self._start()

    @property
    def transcripts(self) -> dict[int, list[Received]]:
        """What each party and the board (BOARD) has received in the last batch, in the order of its reads."""
        return self._transcripts

    @property
    def use(self) -> int:
        """The number of the last batch."""
        return self._use

    @property
    def spent(self) -> Traffic:
        """What the parties and the board have sent in the last batch, whatever came of it."""
        return self._spent

    def _start(self) -> None:
        self._drawn = 0
        self._faulty: dict[int, FaultyLink] = {}
        self._connect()
        members = self._links[:-1]
        members[0].run({link.rank for link in members})
        with ThreadPoolExecutor(self._parties) as threads:
            made = [threads.submit(_leaving, link, lambda at: self._keyring(at, self._parties)) for link in members]
        self._keys = [keys.result() for keys in made]

    def _connect(self) -> None:
        """Link all parties; they remember what they have sent over the links before."""
        self._links = self._make_links(self._parties, self._deadline_s)
        sent = {rank: faulty.sent for rank, faulty in self._faulty.items()}
        self._faulty = {link.rank: FaultyLink(link, sent=sent.get(link.rank)) for link in self._links}

    def _scheduled_links(self, parties: int, deadline_s: float) -> list[InProcessLink]:
        return in_process_links(parties, deadline_s=deadline_s, seed=self._schedule)

    def open_sums(
        self,
        protocol: Spec,
        words: Tensor,
        *,
        number: int | None = None,
        faults: Mapping[int, Fault] = NO_FAULTS,
        models: Models | None = None,
    ) -> OpenedSums:
        """See Parties.open_sums."""
        clusters, members, coordinates = check_batch(protocol, words, self._parties)
        models = Models.given(models, members=members)
        self._use = next_number(number, self._use)
        if self._use <= self._drawn:
            self._start()
        self._drawn = self._use
        self._now = None if self._faults is None and not faults else {**(self._faults or {}), **faults}
        links = [*self._links[:members], self._links[-1]]
        for link in links:
            link.transcript = []
        links[0].run({link.rank for link in links})
        board = Board(
            link=self._link(links[-1]),
            parties=members,
            use=self._use,
            clusters=clusters,
            coordinates=coordinates,
            model=models.announced,
        )

        def contribute(link: InProcessLink) -> Traffic:
            keys, model = self._keys[link.rank], models.held[link.rank]
            party = Party(link=self._link(link), parties=members, use=self._use, keys=keys, model=model)
            return run_member(protocol, party, words[:, link.rank])

        with ThreadPoolExecutor(members + 1) as threads:
            runs = [threads.submit(_leaving, link, contribute) for link in links[:-1]]
            opened = threads.submit(_leaving, links[-1], lambda _: run_board(protocol, board))
        return self._result(links, runs, opened)

    def _link(self, link: InProcessLink) -> Link:
        if self._now is None:
            return link
        faulty = self._faulty[link.rank]
        faulty.fault = self._now.get(link.rank)
        return faulty

    def _result(self, links: list[InProcessLink], runs: list[Future[Traffic]], opened: Future[Opened]) -> OpenedSums:
        self._transcripts = {link.rank: link.transcript or [] for link in links}
        self._spent = total([link.meter.traffic() for link in links])
        errors = [error for run in runs if (error := run.exception())]
        failure = opened.exception()
        if errors or failure or any(link.lost for link in links):
            self._start()
        elif self._clean_links and self._now:
            self._connect()
        if isinstance(failure, NetworkError):
            raise the_cause(failure, errors)
        for error in (failure, *errors):
            if error and not isinstance(error, NetworkError):
                raise error
        result = opened.result()
        return OpenedSums(
            sums=result.sums,
            contributors=result.contributors,
            suspects=result.suspects,
            kept=result.kept,
            traffic=self._spent,
        )


def _leaving(link: InProcessLink, work: Callable[[InProcessLink], Result]) -> Result:
    """Return work(link); the others then need not wait for this party."""
    with link.turn():
        try:
            result = work(link)
        except BaseException:
            link.close()
            raise
        link.finish()
    return result
