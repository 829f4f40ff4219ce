"""What is replayable: scenarios from their lines, and keys from a seed; tests of scenarios at random run at night."""

from dataclasses import replace

import torch

from protocols.faults import Crash, Tamper
from protocols.in_process_link import in_process_links
from protocols.keyring import Keyring
from protocols.secure_sum import secure_sums
from protocols.testing.keyrings import replayable_keyring
from protocols.testing.placements import Placement
from protocols.testing.scenarios import Scenario

SCENARIOS = [
    Scenario(protocol=secure_sums.resolve("additive"), parties=3, words_seed=5, schedule=7),
    Scenario(
        protocol=secure_sums.resolve({"name": "shamir", "mode": "vss"}),
        parties=4,
        clusters=2,
        coordinates=3,
        placement=Placement(faults=((1, Crash(step=1)), (2, Tamper(step=0, delta=5, to=0)))),
    ),
    Scenario(protocol=secure_sums.resolve("masked"), parties=2, order=(1, 0, 2)),
    Scenario(protocol=secure_sums.resolve("additive"), parties=2, order=()),
]


def test_the_line_of_a_scenario_is_read_back_to_it_and_ends_in_the_same_way_with_the_same_trace() -> None:
    for scenario in SCENARIOS:
        read = Scenario.parse(scenario.line())
        assert read == scenario
        assert read.run() == scenario.run()
    first = SCENARIOS[0]
    assert replace(first, schedule=8).line() != first.line()
    assert replace(first, schedule=8).run().trace != first.run().trace


def keys_of(seed: int, parties: int = 3) -> list[Keyring]:
    keyring = replayable_keyring(seed)
    return [keyring(link, parties) for link in in_process_links(parties)[:parties]]


def pair_words(rings: list[Keyring]) -> dict[tuple[int, int], list[int]]:
    """What each end of each pair draws from their common stream, and each party from its own."""
    drawn = {
        (rank, peer): streams.words(use=1, lanes=1, count=4)[0].tolist()
        for rank, ring in enumerate(rings)
        for peer, streams in ring.zero_shares._streams.items()
    }
    own = {
        (rank, rank): ring.secrets.words(purpose="test", use=1, clusters=1, count=4)[0].tolist()
        for rank, ring in enumerate(rings)
    }
    return drawn | own


def test_keys_of_a_seed_are_the_same_again_at_both_ends_of_a_pair_and_others_for_another_pair_or_seed() -> None:
    """Words of 64 bits, 4 of each of 12 streams: two streams are equal by chance with probability below 2^-240."""
    first, again, other = (pair_words(keys_of(seed)) for seed in (1, 1, 2))
    assert first == again
    assert all(first[a, b] == first[b, a] for a, b in first)
    assert len({tuple(words) for words in (*first.values(), *other.values())}) == 2 * (3 + 3)
    signed = keys_of(1)[0].identity.sign(b"words")
    assert keys_of(1)[2].identity.verify(0, b"words", signed)
    assert not keys_of(2)[2].identity.verify(0, b"words", signed)


def test_zero_shares_under_these_keys_cancel() -> None:
    shares = [ring.zero_shares.draw(use=1, parties=3, clusters=2, coordinates=4) for ring in keys_of(5)]
    assert bool(shares[0].all())
    assert not bool(torch.stack(shares).sum(dim=0).any())
