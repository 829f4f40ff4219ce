"""I23 for keys and shares: none is in the text of any object that a protocol works with, nor in an error, nor printed.

A party's threads are watched function by function: whatever of ours a function has in its hands when it returns is
asked for its repr. Nothing of that may hold a key, a word that a party drew for itself, or one that it sent to a single
other member. Looked for are words of 40 bits and more: they are drawn from 2^61 values or more, so that none of fewer
than 10^5 words is one of fewer than 10^5 numbers in these texts by chance but with probability below 5e-9.
"""

import os
import re
import threading
import traceback
from collections import Counter
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any
from unittest import mock

import pytest
import torch

import protocols
from protocols.beacons import beacons
from protocols.check import CloisterError
from protocols.faults import Tamper
from protocols.hidden_sums import hidden_sums
from protocols.in_process import InProcessParties
from protocols.in_process_link import Received
from protocols.network import BOARD, NetworkError
from protocols.playable import cluster_protocols, playable
from protocols.randomness import SecretStreams
from protocols.registry import Spec
from protocols.secret_source import OwnSecrets
from protocols.secure_robust import robust_statistics
from protocols.secure_robust._engine import Shared
from protocols.secure_robust._pads import KeyedPads
from protocols.secure_sum import _masked_member, secure_sums
from protocols.secure_sum._key_shares import HeldShares
from protocols.testing.keyrings import replayable_keyring

NIGHTLY = os.environ.get("HYPOTHESIS_PROFILE") == "nightly"
HOME = str(Path(protocols.__file__).parent)
LOOKS = 30  # at the objects of one class, each with others in its hands
LEAST = 2**40
OPEN = ("plaintext",)
"""Members send each other their words in the clear: nothing is a share."""


@dataclass
class Watch:
    """What was said, and what must not be."""

    texts: list[str] = field(default_factory=list[str])
    keys: set[bytes] = field(default_factory=set[bytes])
    words: set[int] = field(default_factory=set[int])
    seen: Counter[type] = field(default_factory=Counter[type])
    lock: Any = field(default_factory=threading.RLock)

    def look(self, frame: FrameType, event: str, result: object) -> None:
        """Ask for the repr of all objects of ours that a returning function of ours holds."""
        if event != "return" or not frame.f_code.co_filename.startswith(HOME):
            return
        for value in (*frame.f_locals.values(), result):
            kind = type(value)
            ours = kind.__module__.startswith("protocols.") and not isinstance(value, torch.Tensor)
            if ours and self.seen[kind] < LOOKS:
                self.seen[kind] += 1
                self.texts.append(repr(value))

    def draw(self, drawn: Any) -> Any:
        """Note what a party has drawn for itself."""
        with self.lock:
            if isinstance(drawn, bytes):
                self.keys.add(drawn)
            else:
                self.words.update(drawn.flatten().tolist())
        return drawn

    def leaks(self) -> set[str]:
        """Return the secrets that the texts show, in decimal, in hexadecimal or as bytes."""
        text = "\n".join(self.texts)
        decimal = {int(number) for number in re.findall(r"-?\d{10,}", text)}
        shown = {str(word) for word in self.words if abs(word) >= LEAST and word in decimal}
        forms = {form for key in self.keys if len(key) >= 8 for form in (key.hex(), repr(key)[2:-1])}
        forms |= {f"{word % 2**64:x}" for word in self.words if abs(word) >= LEAST}
        lower = text.lower()
        return shown | {form for form in forms if form in text or form in lower}


@contextmanager
def watching(watch: Watch) -> Generator[None, None, None]:
    made = SecretStreams.__init__

    def keyed(self: SecretStreams, key: bytes) -> None:
        watch.draw(key)
        made(self, key)

    def noting(draw: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *given, **named: watch.draw(draw(*given, **named))

    own = {
        "words": noting(OwnSecrets.words),
        "elements": noting(OwnSecrets.elements),
        "token": noting(OwnSecrets.token),
    }
    pads = {"of_set": noting(KeyedPads.of_set), "of_pair": noting(KeyedPads.of_pair)}
    threading.setprofile(watch.look)
    try:
        with (
            mock.patch.object(SecretStreams, "__init__", keyed),
            mock.patch.multiple(OwnSecrets, **own),
            mock.patch.multiple(KeyedPads, **pads),
            mock.patch.object(_masked_member, "deal", noting(_masked_member.deal)),
        ):
            yield
    finally:
        threading.setprofile(None)


def told_to_one(transcripts: dict[int, list[Received]]) -> Iterable[int]:
    """Return the words that members sent to one other member only: what all are told is no secret."""
    told: dict[int, set[tuple[int, int]]] = {}
    for receiver, messages in transcripts.items():
        for message in messages:
            if BOARD in (receiver, message.sender) or message.payload.dtype != torch.int64:
                continue
            for word in message.payload.flatten().tolist():
                told.setdefault(word, set()).add((message.sender, receiver))
    board = {word for message in transcripts[BOARD] for word in message.payload.flatten().tolist()}
    return [word for word, ways in told.items() if len(ways) == 1 and word not in board]


def size_of(spec: Spec) -> int:
    for parties in range(3, 16):
        try:
            playable(spec).check_size(parties=parties)
        except CloisterError:
            continue
        return parties
    raise AssertionError(f"{spec} runs in no cluster of fewer than 16")


def watched(spec: Spec) -> Watch:
    """Run a batch without a fault, and of what takes little time one with a message that is tampered with."""
    watch, parties = Watch(), size_of(spec)
    words = torch.randint(-(2**39), 2**39, (2, parties, 2), generator=torch.Generator().manual_seed(1))
    with watching(watch):
        for faults in (None, {1: Tamper(step=1, delta=5)})[: 1 if spec.name in hidden_sums.entries() else 2]:
            threads = InProcessParties(parties, faults=faults, keyring=replayable_keyring(3))
            try:
                threads.open_sums(spec, words)
            except NetworkError as error:
                watch.texts += [repr(error), "".join(traceback.format_exception(error))]
            if spec.name not in OPEN:
                watch.words.update(told_to_one(threads.transcripts))
    return watch


ROBUST = list(robust_statistics.entries()) if NIGHTLY else ["sign_majority"]
"""They share one engine; the longer ones take half a minute under watch."""
SPECS = [
    *(secure_sums.resolve(name) for name in secure_sums.entries()),
    *(robust_statistics.resolve(name) for name in ROBUST),
    *(hidden_sums.resolve(name) for name in hidden_sums.entries()),
    *(beacons.resolve(name) for name, entry in beacons.entries().items() if entry.facts.get("run")),
]


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_no_key_and_no_share_is_in_any_text(spec: Spec, capsys: pytest.CaptureFixture[str]) -> None:
    watch = watched(spec)
    watch.texts += capsys.readouterr()
    assert watch.keys
    assert spec.name in OPEN or any(abs(word) >= LEAST for word in watch.words)
    assert not watch.leaks()


@pytest.mark.parametrize(
    ("name", "kind", "planted"),
    [
        ("masked", HeldShares, lambda held: f"HeldShares({held._shares})"),
        ("masked", SecretStreams, lambda streams: f"SecretStreams({streams._algorithm.key!r})"),
        ("sign_majority", Shared, lambda shared: f"Shared({shared.parts.tolist()})"),
        (
            "sign_majority",
            KeyedPads,
            lambda pads: f"KeyedPads({[each._algorithm.key.hex() for each in pads._sets.values()]})",
        ),
    ],
)
def test_an_object_that_shows_what_it_holds_is_seen(
    name: str, kind: type, planted: Callable[[Any], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kind, "__repr__", planted)
    assert watched(cluster_protocols.resolve(name)).leaks()


@pytest.mark.parametrize("form", ["{}", "{:x}", "tensor([{}])"])
def test_an_error_that_shows_a_word_is_seen(form: str) -> None:
    secret = 2**60 + 12345
    watch = Watch(words={secret}, texts=[repr(NetworkError(f"party 1 sent {form.format(secret)}"))])
    assert len(watch.leaks()) >= 1
