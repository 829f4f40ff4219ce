"""How a protocol behaves as a program: shapes that tell nothing, ends that come, clusters apart, costs as declared."""

from itertools import zip_longest

import torch
from torch import Tensor

from protocols.faults import Tamper
from protocols.in_process import InProcessParties
from protocols.randomness import public_stream
from protocols.registry import Spec
from protocols.secure_sum import secure_sums
from protocols.testing.invariants.campaign import campaign, campaign_sizes
from protocols.testing.invariants.contract import Effort, Evidence, Violation
from protocols.testing.invariants.runs import Watched, observe, scenario_of, sizes, steps_of, suite_line, watching
from protocols.testing.invariants.schedules import end_in_every_order, most_exchanges
from protocols.testing.keyrings import replayable_keyring

__all__ = ["clusters_stay_apart", "costs_what_it_says", "ends", "sends_the_same_shapes"]


def sends_the_same_shapes(spec: Spec, effort: Effort) -> Evidence:
    """I22: who sends how much to whom, in which order and type, depends on public numbers only."""
    cases = 0
    for parties in sizes(spec, effort.members) or sizes(spec, 16)[:1]:
        traces: list[list[_Shape]] = []
        for seed in range(max(effort.cases // 3, 2)):
            scenario = scenario_of(spec, parties, seed=seed or 1)
            words = scenario.words() if seed else torch.zeros_like(scenario.words())
            watched = Watched()
            with watching(watched):
                InProcessParties(parties, keyring=replayable_keyring(1)).open_sums(spec, words)
            traces.append([_shape(rank, *each) for rank, sent in sorted(watched.sent.items()) for each in sent])
            cases += 1
            if traces[-1] != traces[0]:
                odd = next(pair for pair in zip_longest(traces[0], traces[-1]) if pair[0] != pair[1])
                raise Violation(
                    f"{spec}: {parties} members send (sender, receiver, type, shape) {odd[1]} instead of {odd[0]} on "
                    f"other words",
                    replay=suite_line(spec, "I22"),
                )
    return Evidence(how="property", cases=cases, text="number, order, sender, receiver, type and size of all messages")


_Shape = tuple[int, int, str, tuple[int, ...]]


def _shape(sender: int, receiver: int, payload: Tensor) -> _Shape:
    return sender, receiver, str(payload.dtype), tuple(payload.shape)


def ends(spec: Spec, effort: Effort) -> Evidence:
    """I34: with any faults and any order of arrivals every run ends, in sums or in one typed error.

    At random, and in every order of arrivals in small clusters.
    """
    runs = [seen for pair in campaign(spec, effort) for seen in (pair.first, pair.second)]
    parties = campaign_sizes(spec, effort)[0]
    runs += [observe(scenario_of(spec, parties, seed=seed)) for seed in range(1, effort.cases)]
    most = 0
    for seen in runs:
        allowed = most_exchanges(spec, seen.scenario.parties)
        most = max(most, seen.exchanges)
        if not seen.typed:
            raise seen.violation(f"it ends with {seen.kind}, which is no network error: {seen.error}")
        if seen.exchanges > allowed:
            raise seen.violation(f"a party makes {seen.exchanges} exchanges; allowed: {allowed}")
    schedules, explored = end_in_every_order(spec, effort)
    text = f"{explored}; every kind of fault and random arrivals; no party made more than {most} exchanges"
    return Evidence(how="property", cases=len(runs) + schedules, text=text)


def clusters_stay_apart(spec: Spec, effort: Effort) -> Evidence:
    """I35: a cluster opens the same alone as in a batch, and what is tampered with in one changes no other one."""
    parties = campaign_sizes(spec, effort)[0]
    cases = 0
    words = scenario_of(spec, parties, seed=9).words()
    together = InProcessParties(parties, keyring=replayable_keyring(1)).open_sums(spec, words).sums
    for j in range(len(words)):
        alone = InProcessParties(parties, keyring=replayable_keyring(1)).open_sums(spec, words[j : j + 1]).sums
        cases += 1
        if not torch.equal(together[j : j + 1], alone):
            raise Violation(
                f"{spec}: cluster {j} opens {alone.tolist()} alone and {together[j].tolist()} in a batch",
                replay=suite_line(spec, "I35"),
            )
    for step in range(steps_of(spec, parties)):
        rank = step % parties
        fault = Tamper(step=step, delta=2**20 + 1, word=0)  # the first word of a message is the first cluster's
        seen = observe(scenario_of(spec, parties, seed=9, faults=[(rank, fault)]))
        cases += 1
        if seen.opened:
            assert seen.offset is not None
            own = words[1:, rank] if rank in seen.contributors else torch.zeros_like(seen.offset[1:])
            if not torch.equal(seen.offset[1:], seen.scenario.ring.wrap(own)):
                raise seen.violation(f"tampering with one cluster moves another one's sum to {seen.sums}")
    return Evidence(
        how="property", cases=cases, text="each cluster alone, and the first tampered with in every exchange"
    )


def costs_what_it_says(spec: Spec, effort: Effort) -> Evidence:
    """I44: bytes, messages and rounds, before and after inputs are needed, are those of the closed form."""
    protocol = secure_sums.make(spec)
    rng = public_stream(0, "costs", spec.canonical())
    cases = 0
    for parties in sizes(spec, max(effort.members, 4)):
        for _ in range(max(effort.cases // 4, 1)):
            clusters, coordinates = int(rng.integers(1, 5)), int(rng.integers(1, 20))
            words = torch.from_numpy(rng.integers(-1000, 1000, (clusters, parties, coordinates)))
            threads = InProcessParties(parties, keyring=replayable_keyring(1))
            metered = threads.open_sums(spec, protocol.ring.wrap(words)).traffic
            formula = protocol.cost(parties=parties, clusters=clusters, coordinates=coordinates)
            cases += 1
            if metered != formula:
                raise Violation(
                    f"{spec}: {parties} members, {clusters} clusters, {coordinates} coordinates cost {metered}; its "
                    f"formula says {formula}",
                    replay=suite_line(spec, "I44"),
                )
    return Evidence(how="exact", cases=cases, text="random sizes of clusters, batches and words, against the meter")
