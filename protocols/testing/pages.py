"""One page a protocol, written from the code itself: threat model, thresholds, messages round by round, cost, source.

python -m protocols.testing.pages DIRECTORY    writes a Markdown page for every registered protocol
"""

import inspect
import sys
from collections import defaultdict
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast
from unittest import mock

import torch

from protocols.in_process import InProcessParties
from protocols.network import BOARD, Header, Meter
from protocols.registry import Spec
from protocols.secure_sum import secure_sums
from protocols.testing import examples_of, refusal
from protocols.testing.guarantees import split_guarantees
from protocols.tolerance.thresholds import thresholds_of
from protocols.types import Cost

__all__ = ["page", "write_pages"]

_COORDINATES = 1000
_SIZES = (3, 5, 8)
_COSTS = ((3, 1000), (5, 1000), (8, 1000), (8, 10**6))


@dataclass(frozen=True, kw_only=True)
class _Step:
    """Messages of one kind in one round: at one place of the chain of dependent messages, offline or online."""

    online: bool
    hop: int
    sender: str
    receiver: str
    payload_bytes: int


def page(name: str) -> str:
    """Return the Markdown page of a registered protocol. Raises: CloisterError for an unknown name."""
    specs = [spec for spec in examples_of(secure_sums) if spec.name == name] or [secure_sums.resolve(name)]
    entry = secure_sums.entry(name)
    return "\n".join(
        [
            f"# {name}",
            "",
            "<!-- Written by `make pages` from the code; changes here are overwritten. -->",
            "",
            _paragraphs(inspect.getdoc(entry.factory) or ""),
            "",
            f"Source: {entry.source}.",
            "",
            *_violations(entry.facts.get("violates")),
            "## Parameters",
            "",
            *(f"- `{key} = {value!r}`" for key, value in entry.defaults.items()),
            "",
            "## Thresholds",
            "",
            "How many faulty members of a cluster of c each promise survives, each kind alone (-1: not even none). "
            "*private*: curious or Byzantine members that pool what they see with the board; *correct*: Byzantine "
            "members that send anything; *live*: members that crash, or that are Byzantine, and the sum still opens.",
            "",
            *_thresholds(specs),
            "",
            "## Messages",
            "",
            f"One sum of {_COORDINATES} coordinates, as it was metered, round by round: a message of a round depends "
            "on one of the round before. Offline is what is sent before any input is looked at. "
            "M are the members; B is the board, where clusters publish, and the server of protocols that have one.",
            "",
            *(line for spec in _different(specs) for line in _messages(spec)),
            "## Cost",
            "",
            "By the closed form, which tests hold equal to the meter; wire bytes of all members together, headers "
            "included. Rounds are the most messages among members in a chain of dependent messages, and the most from "
            "or to the board in one: together no less than there are rounds above.",
            "",
            *_costs(_different(specs)),
            "",
        ]
    )


def write_pages(directory: Path) -> list[Path]:
    """Write the page of every registered protocol and return the files."""
    directory.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    for name in secure_sums.entries():
        path = directory / f"{name}.md"
        path.write_text(page(name), encoding="utf-8")
        written.append(path)
    return written


def _paragraphs(doc: str) -> str:
    """Return a docstring as Markdown: its guarantees become a list."""
    before, guarantees, after = split_guarantees(doc)
    listed = ["**Guarantees**", "", *(f"- {sentence}" for sentence in guarantees)] if guarantees else []
    return "\n".join(line.removeprefix("    ") for line in [*before, *listed, *after])


def _violations(said: object) -> list[str]:
    """Return what a protocol is known to violate, as its registration says."""
    if not isinstance(said, Mapping):
        return []
    known = cast(Mapping[str, str], said)
    return ["## Violated", "", *(f"- {number}: {text}" for number, text in known.items()), ""]


def _thresholds(specs: list[Spec]) -> list[str]:
    lines = [
        "| | c | private | correct | live, crashed | live, Byzantine | on cheating |",
        "|---|---|---|---|---|---|---|",
    ]
    for spec in _different(specs):
        protocol = secure_sums.make(spec)
        for c in _SIZES:
            refused = refusal(lambda c=c, protocol=protocol: protocol.check_size(parties=c))
            if refused is not None:
                lines.append(f"| {_label(spec)} | {c} | refused: {refused} | | | | |")
                continue
            found = thresholds_of(protocol.conditions, c)
            lines.append(
                f"| {_label(spec)} | {c} | {found.private} | {found.correct} | {found.live_crashed} | "
                f"{found.live_byzantine} | {found.on_cheating} |"
            )
    return lines


def _different(specs: list[Spec]) -> list[Spec]:
    """Return one spec for each set of conditions and costs: parameters that change neither need no line."""
    seen: dict[tuple[object, ...], Spec] = {}
    for spec in specs:
        protocol = secure_sums.make(spec)
        conditions = protocol.conditions
        cost = protocol.cost(parties=_smallest(spec), clusters=1, coordinates=_COORDINATES)
        key = (conditions.protocol, conditions.mode, conditions.threshold, conditions.least_honest, cost)
        seen.setdefault(key, spec)
    return list(seen.values())


def _smallest(spec: Spec) -> int:
    """Return the smallest cluster of at least four members that the protocol runs in."""
    return next(c for c in range(4, 100) if _runs(spec, c))


def _runs(spec: Spec, parties: int) -> bool:
    return refusal(lambda: secure_sums.make(spec).check_size(parties=parties)) is None


def _label(spec: Spec) -> str:
    defaults = secure_sums.entry(spec.name).defaults
    differing = tuple((key, value) for key, value in spec.parameters if value != defaults.get(key))
    return f"`{Spec(name=spec.name, parameters=differing)}`"


def _messages(spec: Spec) -> list[str]:
    parties = _smallest(spec)
    threads = InProcessParties(parties)
    with _sent_messages() as sent:
        threads.open_sums(spec, torch.ones(1, parties, _COORDINATES, dtype=torch.int64))
    steps: dict[_Step, list[int]] = defaultdict(list)
    for receiver, received in threads.transcripts.items():
        for message in received:
            is_offline, place = sent[message.sender, receiver, message.header.sequence]
            step = _Step(
                online=not is_offline,
                hop=message.header.member_hops + message.header.board_hops,
                sender=_role(message.sender),
                receiver=_role(receiver),
                payload_bytes=message.header.payload_bytes,
            )
            steps[step].append(place)
    members = [f"    participant M as {parties} members", "    participant B as board"]
    arrows = _arrows({step: len(places) for step, places in sorted(steps.items(), key=_in_order)})
    return [f"{_label(spec)}", "", "```mermaid", "sequenceDiagram", *members, *arrows, "```", ""]


@contextmanager
def _sent_messages() -> Generator[dict[tuple[int, int, int], tuple[bool, int]], None, None]:
    """Return, of each (sender, receiver, number on this link), whether it is offline, and its place in what is sent."""
    sent: dict[tuple[int, int, int], tuple[bool, int]] = {}
    original = Meter.header

    def header(self: Meter, rank: int, peer: int, sequence: int, payload_bytes: int) -> Header:
        sent[rank, peer, sequence] = self.is_offline, sum(sender == rank for sender, _, _ in list(sent))
        return original(self, rank, peer, sequence, payload_bytes)

    with mock.patch.object(Meter, "header", header):
        yield sent


def _in_order(counted: tuple[_Step, list[int]]) -> tuple[object, ...]:
    """Order by rounds, and in a round by the place among what one sender sends."""
    step, places = counted
    return step.online, step.hop, min(places), step.sender, step.receiver, -step.payload_bytes


def _arrows(counts: Mapping[_Step, int]) -> list[str]:
    """Return an arrow a step.

    Rounds are numbered without gaps, from offline to online: hops leave some out where the longest chain among members
    and the longest one with the board are two.
    """
    rounds = {place: number for number, place in enumerate(sorted({(s.online, s.hop) for s in counts}), start=1)}
    lines: list[str] = []
    for online in (False, True):
        part = {step: count for step, count in counts.items() if step.online == online}
        if part and len({step.online for step in counts}) > 1:
            lines.append(f"    Note over M,B: {'online' if online else 'offline'}")
        for step, count in part.items():
            amount = f"{count} x {step.payload_bytes:,} bytes"
            lines.append(f"    {step.sender}->>{step.receiver}: round {rounds[step.online, step.hop]}, {amount}")
    return lines


def _role(rank: int) -> str:
    return "B" if rank == BOARD else "M"


def _costs(specs: list[Spec]) -> list[str]:
    lines = [
        "| | c | d | offline | among members | board | rounds |",
        "|---|---|---|---|---|---|---|",
    ]
    for spec in specs:
        protocol = secure_sums.make(spec)
        for c, d in _COSTS:
            if not _runs(spec, c):
                continue
            cost = protocol.cost(parties=c, clusters=1, coordinates=d)
            parts = " | ".join(_bytes(each) for each in (cost.offline, cost.mpc, cost.upload))
            lines.append(f"| {_label(spec)} | {c} | {d:,} | {parts} | {cost.rounds} |")
    return lines


def _bytes(cost: Cost) -> str:
    return f"{cost.wire_bytes:,}"


if __name__ == "__main__":
    print(*write_pages(Path(sys.argv[1])), sep="\n")
