"""Masked sums in tests: specs, words, what the server and the members say when, and what members dealt."""

from collections.abc import Iterable
from unittest import mock

import torch

from protocols.in_process import InProcessParties
from protocols.network import BOARD
from protocols.parties import OpenedSums
from protocols.registry import Spec
from protocols.secure_sum import Opened, secure_sums
from protocols.secure_sum._key_shares import KEY_BYTES, HeldShares, deal
from protocols.secure_sum._masking import Plan
from protocols.testing.keyrings import replayable_keyring

__all__ = [
    "HIGHEST",
    "LIST",
    "LOWEST",
    "MODES",
    "RELAY",
    "ROSTER",
    "SENDS_WORDS",
    "SIGNATURES",
    "SIGNED",
    "SPARSE",
    "assert_exact",
    "assert_one_kind_a_member",
    "dealt_shares",
    "masked",
    "plan_of",
    "releases",
    "told_to_the_board",
    "twin_secrets",
    "words_of",
]

LOWEST, HIGHEST = -(2**63), 2**63 - 1
MODES = ("semi_honest", "malicious_server")
SENDS_WORDS = 2
"""The exchange of a member in which its masked words leave, after keys (0) and key shares (1)."""
ROSTER, RELAY, LIST, SIGNATURES = 1, 2, 4, 5
"""The exchanges of the server; 3 only hears the masked words."""


def releases(mode: str) -> int:
    """The exchange of a member in which its key shares leave."""
    return 4 if mode == "malicious_server" else 3


def masked(mode: str = "semi_honest", *, name: str = "masked", least_honest: int = 1, **parameters: object) -> Spec:
    own = {"mode": mode} if name == "masked" else {}
    return secure_sums.resolve({"name": name, "least_honest": least_honest, **own, **parameters})


def words_of(members: int, clusters: int = 2, coordinates: int = 3, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(LOWEST, HIGHEST, (clusters, members, coordinates), generator=generator)


def assert_exact(spec: Spec, opened: OpenedSums | Opened, words: torch.Tensor, contributors: Iterable[int]) -> None:
    chosen = sorted(contributors)
    assert opened.contributors == tuple(chosen)
    bits = dict(spec.parameters)["bits"]
    plain = words.tolist()
    expected = [
        [(sum(row[i][k] for i in chosen) + 2 ** (bits - 1)) % 2**bits - 2 ** (bits - 1) for k in range(words.shape[2])]
        for row in plain
    ]
    assert opened.sums.tolist() == expected, "the sums are not those of the contributors"


SIGNED = masked("malicious_server", threshold="3")
# In so small a cluster a failure that is rarer than 2^-40 never happens.
SPARSE = masked(name="masked_graph", sigma=40, eta=40, gamma=0.1, delta=0.25)


def plan_of(spec: Spec, members: int, use: int, clusters: int = 2, coordinates: int = 3) -> Plan:
    return secure_sums.make(spec)._plan(members, use, clusters, coordinates)


def twin_secrets(seed: int, members: int) -> list[object]:
    """Other copies of the secrets that replayable keyrings hold."""
    links = [mock.Mock(rank=rank) for rank in range(members)]
    return [replayable_keyring(seed)(link, members).secrets for link in links]


def dealt_shares(spec: Spec, members: int, *, seed: int, use: int = 1) -> dict[int, torch.Tensor]:
    """The shares (holders, 2, LIMBS) that each member deals: of its mask key, and of its self-mask."""
    plan, found = plan_of(spec, members, use), {}
    for rank, secrets in enumerate(twin_secrets(seed, members)):
        keys = [secrets.token(purpose=f"masked {what}", use=use, size=KEY_BYTES) for what in ("mask key", "self-mask")]
        found[rank] = deal(
            secrets,
            keys,
            use=use,
            threshold=plan.graph.threshold,
            holders=plan.graph.holders[rank],
        )
    return found


def told_to_the_board(parties: InProcessParties, last: int) -> dict[int, torch.Tensor]:
    """The key shares (holders, LIMBS) that each member released, by its rank: its message number `last`."""
    seen: dict[int, list[torch.Tensor]] = {}
    for message in parties.transcripts[BOARD]:
        seen.setdefault(message.sender, []).append(message.payload)
    return {rank: messages[last] for rank, messages in seen.items() if len(messages) > last}


def assert_one_kind_a_member(spec: Spec, parties: InProcessParties, dropped: set[int], *, seed: int) -> None:
    """Of each member the board was told shares of one kind only, all of them exactly those that were dealt."""
    members = parties._parties
    plan, dealt = plan_of(spec, members, 1), dealt_shares(spec, members, seed=seed)
    told = told_to_the_board(parties, releases("malicious_server" if plan.signed else "semi_honest"))
    assert told, "nobody released anything"
    for holder, rows in told.items():
        for row, rank in zip(rows, plan.graph.holders[holder], strict=True):
            place = plan.graph.holders[rank].index(holder)
            kinds = [kind for kind in (0, 1) if torch.equal(row, dealt[rank][place, kind])]
            expected = HeldShares.MASK_KEY if rank in dropped else HeldShares.SELF_MASK
            assert kinds == [expected], f"member {holder} released kinds {kinds} of member {rank}"
