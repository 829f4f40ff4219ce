"""Parties as threads of this process: the same protocol code and the same bytes, fast to start, for tests."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from torch import Tensor

from protocols import check
from protocols.faults import Fault, FaultyLink
from protocols.network import InProcessLink, NetworkError, PartyCrashedError, in_process_links
from protocols.parties import OpenedSums, PartyReport, check_words, collect, publish, run_party, total
from protocols.registry import Spec
from protocols.secure_sum import Party
from protocols.types import Cost
from protocols.zero_sharing import agree_on_keys

__all__ = ["InProcessParties"]

Result = TypeVar("Result")


class InProcessParties:
    """A pool of `parties` party threads.

    Guarantees:
        It returns the same words and the same costs as the party processes do.
        After a failed batch the next one starts with new links and new keys.
    """

    def __init__(self, parties: int, *, deadline_s: float = 60.0, faults: Mapping[int, Fault] | None = None) -> None:
        """Start the parties; `faults` are what some ranks do to the messages they send, in every batch."""
        check.integer_at_least(1, parties=parties)
        check.positive(deadline_s=deadline_s)
        self._parties = parties
        self._deadline_s = deadline_s
        self._faults = faults or {}
        self._start()

    def _start(self) -> None:
        *self._links, self._board = in_process_links(self._parties, deadline_s=self._deadline_s)
        self._use = 0
        self._zero_shares = _in_threads(self._links, lambda link: agree_on_keys(link, self._parties))

    def open_sums(self, protocol: Spec, words: Tensor) -> OpenedSums:
        """See Parties.open_sums."""
        clusters, members, coordinates = check_words(words, self._parties)
        self._use += 1

        def work(link: InProcessLink) -> tuple[PartyReport, Cost]:
            fault = self._faults.get(link.rank)
            used = link if fault is None else FaultyLink(link, fault)
            party = Party(link=used, parties=members, use=self._use, zero_shares=self._zero_shares[link.rank])
            report, opened = run_party(protocol, party, words[:, link.rank])
            return report, publish(link, opened)

        try:
            runs = _in_threads(self._links[:members], work)
            sums = collect(self._board, [report for report, _ in runs], clusters, coordinates)
        except BaseException:
            self._start()
            raise
        return OpenedSums(
            sums=sums, mpc=total([report.mpc for report, _ in runs]), upload=total([upload for _, upload in runs])
        )


def _in_threads(links: Sequence[InProcessLink], work: Callable[[InProcessLink], Result]) -> list[Result]:
    """Return work(link) for every link, in threads; the first cause of a failure is raised, not its echoes."""

    def guarded(link: InProcessLink) -> Result:
        try:
            return work(link)
        except BaseException:
            link.close()  # the others must not wait for a party that is gone
            raise

    with ThreadPoolExecutor(len(links)) as threads:
        futures = [threads.submit(guarded, link) for link in links]
    errors = [error for future in futures if (error := future.exception())]
    causes = [error for error in errors if not isinstance(error, PartyCrashedError)]
    causes.sort(key=lambda error: isinstance(error, NetworkError))
    for error in causes or errors:
        raise error
    return [future.result() for future in futures]
