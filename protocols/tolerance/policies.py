"""Every clustering policy: its law for every fault placement, who can arrange a bad one, and many rounds of it."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from protocols import check
from protocols.tolerance.aimed import Aimed
from protocols.tolerance.binomial import log_binomial
from protocols.tolerance.domains import Domains
from protocols.tolerance.laws import Drawn, Independent, Law, Mixture, Uniform, iid, poisson_binomial
from protocols.tolerance.parts import clusters_of
from protocols.tolerance.placed import packed, spread
from protocols.tolerance.placements import Chosen, Setting
from protocols.tolerance.repeated import (
    Range,
    Rounds,
    batches_counted,
    batches_kept,
    cover_counted,
    cover_kept,
    drawn_anew,
    kept,
    learnt,
)
from protocols.tolerance.strata import Strata

__all__ = ["PLACEMENTS", "POLICIES", "Policy", "law_of"]


def _uniform(asked: Setting) -> Law:
    return Uniform(n=asked.n, faulty=asked.faulty, groups=asked.groups)


def _iid(asked: Setting) -> Law:
    return iid(asked.groups, asked.faulty / asked.n)


def _packed(asked: Setting) -> Law:
    return packed(asked.groups, asked.faulty)


def _spread(asked: Setting) -> Law:
    return spread(asked.groups, asked.faulty)


def _exactly(faulty: int) -> tuple[float, ...]:
    return (*[0.0] * faulty, 1.0)


def _worst(asked: Setting) -> Law:
    return Chosen(groups=asked.groups, totals=_exactly(asked.faulty))


def _aimed(asked: Setting) -> Law:
    return Aimed(n=asked.n, faulty=asked.faulty, groups=asked.groups, moves=asked.moves)


def _domain_totals(asked: Setting) -> tuple[float, ...]:
    """The law of how many processes fail with the domains: these are of two sizes."""
    small, larger = divmod(asked.n, asked.domains)
    count = asked.domains
    totals = np.zeros(asked.n + 1)
    for g, weight in asked.failing:
        for k in range(max(0, g - (count - larger)), min(larger, g) + 1):
            ways = math.comb(larger, k) * math.comb(count - larger, g - k)
            totals[g * small + k] += weight * (ways / math.comb(count, g))
    return tuple(totals.tolist())


def _drawn_domains(asked: Setting) -> Law:
    return Mixture(n=asked.n, groups=asked.groups, totals=_domain_totals(asked))


def _drawn_risks(asked: Setting) -> Law:
    return Mixture(n=asked.n, groups=asked.groups, totals=poisson_binomial(asked.risks.tolist()))


def _chosen_domains(asked: Setting) -> Law:
    return Chosen(groups=asked.groups, totals=_domain_totals(asked))


def _chosen_risks(asked: Setting) -> Law:
    return Chosen(groups=asked.groups, totals=poisson_binomial(asked.risks.tolist()))


def _iid_totals(asked: Setting) -> tuple[float, ...]:
    count = np.arange(asked.n + 1.0)
    return tuple(np.exp(log_binomial(count, np.asarray(float(asked.n)), asked.faulty / asked.n)).tolist())


def _chosen_iid(asked: Setting) -> Law:
    return Chosen(groups=asked.groups, totals=_iid_totals(asked))


def _drawn_iid(asked: Setting) -> Law:
    return Mixture(n=asked.n, groups=asked.groups, totals=_iid_totals(asked))


Order = Callable[[Setting], list[np.ndarray]]
"""The members of each cluster."""


def _runs(asked: Setting) -> list[np.ndarray]:
    return np.split(np.arange(asked.n), np.cumsum(asked.sizes)[:-1])


def _dealt(asked: Setting) -> list[np.ndarray]:
    m = clusters_of(asked.groups)
    return [np.arange(j, asked.n, m) for j in range(m)]


def _sorted_runs(asked: Setting) -> list[np.ndarray]:
    return np.split(np.argsort(-asked.risks, kind="stable"), np.cumsum(asked.sizes)[:-1])


def _fixed_domains(order: Order) -> Callable[[Setting], Law]:
    def law(asked: Setting) -> Law:
        columns = [np.bincount(asked.domain[members], minlength=asked.domains) for members in order(asked)]
        members = np.stack(columns, axis=1).astype(np.int64)
        return Drawn(ways=tuple((weight, Domains(members=members, failing=count)) for count, weight in asked.failing))

    return law


def _fixed_risks(order: Order) -> Callable[[Setting], Law]:
    def law(asked: Setting) -> Law:
        return Independent(
            clusters=tuple((poisson_binomial(asked.risks[members].tolist()), 1) for members in order(asked))
        )

    return law


def _spread_risks(asked: Setting) -> Law:
    m = clusters_of(asked.groups)
    order = np.sort(asked.risks)
    strata = tuple(poisson_binomial(order[start : start + m].tolist()) for start in range(0, asked.n, m))
    return Strata(clusters=m, strata=strata, last=asked.n % m)


Laws = Mapping[str, Callable[[Setting], Law]]
_ALIKE: Laws = MappingProxyType(
    {"uniform": _uniform, "iid": _iid, "packed": _packed, "spread": _spread, "worst": _worst, "targeted": _aimed}
)
_DRAWN: Laws = MappingProxyType({**_ALIKE, "by_domain": _drawn_domains, "heterogeneous": _drawn_risks})


def _fixed(order: Order) -> Laws:
    return MappingProxyType({**_ALIKE, "by_domain": _fixed_domains(order), "heterogeneous": _fixed_risks(order)})


@dataclass(frozen=True, kw_only=True)
class Policy:
    """What is known of a policy: who can arrange a bad placement, its law by fault placement, and over rounds.

    `over_rounds` takes the failure probability of one round and the number of rounds, and returns bounds; where they
    do not meet, `rounds_because` says why. `counted` then has the exact answer for uniform faults, or None where it is
    not known or takes too long.
    """

    words: str
    laws: Laws
    over_rounds: Callable[[float, int], Range]
    rounds_words: str
    rounds_because: str = ""
    hierarchical: bool = False
    redrawn: bool = False
    counted: Callable[[Rounds], float | None] | None = None


_LUCK = "nobody can arrange it when the seed is fixed after the faults; it takes that bad luck"
POLICIES: Mapping[str, Policy] = MappingProxyType(
    {
        "singletons": Policy(
            words="every process is its own cluster, so only the number of faults counts",
            laws=_DRAWN,
            over_rounds=kept,
            rounds_words="the same in all",
        ),
        "single": Policy(
            words="all are in one cluster, so only the number of faults counts",
            laws=_DRAWN,
            over_rounds=kept,
            rounds_words="the same in all",
        ),
        "random": Policy(
            words=_LUCK, laws=_DRAWN, over_rounds=drawn_anew, rounds_words="drawn anew for each", redrawn=True
        ),
        "round_robin": Policy(
            words="an adversary who chooses its processes' numbers arranges it at will",
            laws=_fixed(_dealt),
            over_rounds=kept,
            rounds_words="the same in all",
        ),
        "stratified": Policy(
            words="spread by domain or by trust, which whoever forges those facts arranges; else it takes bad luck",
            laws=MappingProxyType(
                {**_ALIKE, "by_domain": _fixed_domains(_dealt), "heterogeneous": _spread_risks},
            ),
            over_rounds=kept,
            rounds_words="the same in all",
        ),
        "segregated": Policy(
            words="packed by trust, which whoever forges a score arranges; among equals it takes bad luck",
            laws=MappingProxyType({**_DRAWN, "heterogeneous": _fixed_risks(_sorted_runs)}),
            over_rounds=kept,
            rounds_words="the same in all",
        ),
        "similarity": Policy(
            words="the faulty processes choose their features, and so their clusters: the worst case is the rule",
            laws=MappingProxyType(
                {
                    **dict.fromkeys(("uniform", "packed", "spread", "worst", "targeted"), _worst),
                    "iid": _chosen_iid,
                    "by_domain": _chosen_domains,
                    "heterogeneous": _chosen_risks,
                }
            ),
            over_rounds=kept,
            rounds_words="as bad in all",
        ),
        "reputation": Policy(
            words="before anything is learnt it takes bad luck; what is learnt later changes the law",
            laws=_DRAWN,
            over_rounds=learnt,
            rounds_words="drawn anew by what is learnt, which may be anything",
            rounds_because="scores are learnt from what the faulty show: a later round may be as bad as the worst case",
        ),
        "locality": Policy(
            words="an adversary who is somewhere, or a site that fails, is together in clusters",
            laws=_fixed(_runs),
            over_rounds=kept,
            rounds_words="the same in all",
        ),
        "sticky": Policy(
            words=_LUCK,
            laws=_DRAWN,
            over_rounds=batches_kept,
            rounds_words="of the same batches, drawn anew for each",
            rounds_because="who is faulty in which batch is the same in all rounds, and the rest is drawn anew",
            counted=batches_counted,
        ),
        "overlapping": Policy(
            words=_LUCK,
            laws=_DRAWN,
            over_rounds=cover_kept,
            rounds_words="of one cover of two partitions, in turn",
            rounds_because="covers whose sums tell too much are rejected, which makes partitions depend on each other",
            counted=cover_counted,
        ),
        "hierarchical": Policy(
            words=_LUCK,
            laws=MappingProxyType({**_DRAWN, "iid": _drawn_iid}),
            over_rounds=kept,
            rounds_words="the same in all",
            hierarchical=True,
        ),
    }
)
PLACEMENTS: tuple[str, ...] = tuple(_DRAWN)
"""The fault placements that laws are known for."""


def law_of(policy: str, placement: str, asked: Setting) -> Law:
    """Return the law of the clusters' faulty members under a policy and a placement.

    Raises: CloisterError for a policy or placement that no law is known of, and for numbers that do not fit.
    """
    check.one_of(POLICIES, policy=policy)
    check.one_of(PLACEMENTS, placement=placement)
    return POLICIES[policy].laws[placement](asked)
