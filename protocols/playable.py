"""What a pool of parties can run: secure sums, robust statistics, rules over sums that stay hidden, and beacons."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Protocol, cast, runtime_checkable

from torch import Tensor

from protocols import check
from protocols.beacons import beacons
from protocols.check import CloisterError
from protocols.hidden_sums import HiddenSums, hidden_sums
from protocols.registry import Entry, Registry, Spec
from protocols.ring import FixedPoint
from protocols.secure_robust import RobustStatistic, robust_statistics
from protocols.secure_robust._promises import deviating as without_honest_steps
from protocols.secure_sum import Board, Opened, Party, SecureSum, secure_sums
from protocols.tolerance.conditions import Conditions, conditions_of
from protocols.tolerance.schemes import SCHEMES
from protocols.types import Traffic

__all__ = [
    "ChecksRange",
    "ClusterProtocols",
    "Playable",
    "as_registered",
    "cluster_protocols",
    "conditions_named",
    "conditions_under",
    "in_range_of",
    "opens_sums",
    "playable",
    "robust_of",
]


class Playable(Protocol):
    """What secure sums, robust statistics, hidden sums and beacons share; see there for what their words mean."""

    @property
    def ring(self) -> FixedPoint:
        """The fixed-point numbers whose words it takes."""
        ...

    @property
    def conditions(self) -> Conditions:
        """What it tolerates in a cluster of any size."""
        ...

    def check_size(self, *, parties: int) -> None:
        """Raise CloisterError where a cluster of `parties` members cannot run it; nothing has been sent yet."""
        ...

    def contribute(self, party: Party, words: Tensor) -> None:
        """Play one member, whose int64 words have shape (clusters, coordinates). Raises NetworkError."""
        ...

    def collect(self, board: Board) -> Opened:
        """Play the board: read or compute what is opened. Raises NetworkError when nothing can be opened."""
        ...

    def cost(self, *, parties: int, clusters: int, coordinates: int) -> Traffic:
        """Return the closed form of what one batch sends when all members follow the protocol."""
        ...


@runtime_checkable
class ChecksRange(Protocol):
    """What shows that members' inputs are in range, so that no sum of them wraps around; honest members always pass."""

    @property
    def checks_inputs(self) -> bool:
        """Whether it does."""
        ...

    def limit(self, *, parties: int) -> int:
        """Return the bits of the range in a cluster of so many: words -2^limit .. 2^limit - 1 pass."""
        ...


class ClusterProtocols:
    """All registries as one: what the axis `protocol` chooses from.

    Guarantees:
        A name that two kinds have is refused where it is asked for.
    """

    kind = "protocol"

    def entries(self) -> dict[str, Entry]:
        """Return all plug-ins of all kinds by name, in alphabetical order."""
        return dict(sorted((secure_sums.entries() | robust_statistics.entries() | hidden_sums.entries()).items()))

    def entry(self, name: str) -> Entry:
        """Return the plug-in of that name; CloisterError with the closest name otherwise."""
        return self._of(name).entry(name)

    def resolve(self, config: object) -> Spec:
        """Return the spec of a name or of {name = ..., parameter = ...}, with every default filled in."""
        name = cast(Mapping[str, object], config).get("name") if isinstance(config, Mapping) else config
        return self._of(name).resolve(cast(object, config))

    def make(self, spec: Spec) -> Playable:
        """Return the plug-in that the spec describes."""
        return self._of(spec.name).make(spec)

    def robust(self, spec: Spec) -> RobustStatistic | None:
        """Return the plug-in that the spec describes where what it opens is no plain sum of words."""
        registry = _ROBUST.get(self._of(spec.name).kind)
        return None if registry is None else registry.make(spec)

    def is_hidden(self, name: str) -> bool:
        """Return whether the name is that of a protocol that all clusters of a round play together."""
        return self._of(name) is hidden_sums

    def _of(self, name: object) -> Registry[SecureSum] | Registry[RobustStatistic] | Registry[HiddenSums]:
        """Return the registry that knows the name; the sums', whose error lists what there is, where none does."""
        registries = (secure_sums, robust_statistics, hidden_sums)
        knowing = [each for each in registries if isinstance(name, str) and name in each.entries()]
        if len(knowing) > 1:
            kinds = " and a ".join(each.kind for each in knowing)
            raise CloisterError(f"{name!r} is a {kinds}; rename the third-party one")
        return knowing[0] if knowing else secure_sums


_ROBUST: Mapping[str, Registry[RobustStatistic] | Registry[HiddenSums]] = MappingProxyType(
    {robust_statistics.kind: robust_statistics, hidden_sums.kind: hidden_sums}
)

cluster_protocols = ClusterProtocols()


def playable(spec: Spec) -> Playable:
    """Return the plug-in that the spec describes, of the kind that knows its name.

    Raises: CloisterError for a name that no kind has, or more than one.
    """
    beacon = beacons.entries().get(spec.name)
    if beacon is None or not beacon.facts.get("run"):
        return cluster_protocols.make(spec)
    if spec.name in cluster_protocols.entries():
        raise CloisterError(f"{spec.name!r} is a protocol and a beacon; rename the third-party one")
    return cast(Playable, beacons.make(spec))  # what a beacon that is run promises, see Beacon


def conditions_under(spec: Spec, *, deviating: bool) -> Conditions:
    """Return what the plug-in tolerates, where Byzantine members may be `deviating` from it, not in their inputs alone.

    The conditions of a sum hold either way; robust statistics have some for each way.
    """
    plug_in = playable(spec)
    if deviating and cluster_protocols.is_hidden(spec.name):
        return hidden_sums.make(spec).deviating_conditions
    return without_honest_steps(plug_in.conditions) if deviating and robust_of(spec) else plug_in.conditions


def _as_promised(conditions: Conditions) -> Conditions:
    return conditions


_MODES: Mapping[str, Callable[[Conditions], Conditions]] = MappingProxyType(
    {"inputs": _as_promised, "passive": without_honest_steps}
)
"""Mode of a robust statistic -> its conditions where Byzantine members choose inputs only, or deviate as well."""


def conditions_named(
    name: str,
    *,
    mode: str | None = None,
    threshold: str | None = None,
    least_honest: int | None = None,
    least_passing: int | None = None,
    revealed: bool = True,
    checked: bool = False,
) -> Conditions:
    """Return the conditions of a registered sum, or of a robust statistic, with its own defaults unless told.

    Of a statistic the mode is `inputs`, where Byzantine members choose their inputs and follow the protocol, or
    `passive`, where they depart from it as well; `checked` inputs and sums that are not `revealed` are for sums.

    Raises: CloisterError for an unknown name, mode or threshold, and for what a sum or a statistic has no use for.

    Guarantees:
        Without further words they are the conditions of the plug-in that runs.
    """
    statistics = robust_statistics.entries()
    if name in secure_sums.entries() and name not in SCHEMES:
        raise CloisterError(
            f"protocol = {name!r} does not keep what it promises (`bench list protocols` says how), so that no law "
            f"follows from its conditions; allowed: the protocols {', '.join((*SCHEMES, *statistics))}"
        )
    check.one_of((*SCHEMES, *statistics), protocol=name)
    if least_honest is not None:
        _refuse_unless_withheld(name, least_honest)
    if least_passing is not None:
        _refuse_unless_checking(name, least_passing)
    if name not in statistics:
        asked = conditions_of(name, mode=mode, threshold=threshold)  # refuses what makes no sense
        found = as_registered(asked, threshold=threshold, least_honest=least_honest).conditions
        return replace(found, revealed=revealed, checked_inputs=checked)
    if checked or not revealed:
        word = "hidden" if not revealed else "checked_inputs"
        raise CloisterError(
            f"{word} = True means nothing to protocol {name!r}, which opens a statistic of its members' inputs; "
            f"allowed: the protocols {', '.join(SCHEMES)}"
        )
    chosen = mode or next(iter(_MODES))
    check.one_of(_MODES, mode=chosen)
    given = {"threshold": threshold, "least_passing": least_passing}
    wanted = {"name": name, **{word: value for word, value in given.items() if value is not None}}
    return _MODES[chosen](robust_statistics.make(robust_statistics.resolve(wanted)).conditions)


def as_registered(conditions: Conditions, *, threshold: str | None, least_honest: int | None) -> Playable:
    """Return the registered protocol in the mode of the conditions, and with what else is given of what it has."""
    wanted = {"mode": conditions.mode, "threshold": threshold, "least_honest": least_honest}
    wanted |= {"least_passing": conditions.least_passing or None}
    taken = cluster_protocols.entry(conditions.protocol).defaults
    config = {name: value for name, value in wanted.items() if name in taken and value is not None}
    return cluster_protocols.make(cluster_protocols.resolve({"name": conditions.protocol, **config}))


def _refuse_unless_withheld(name: str, least_honest: int) -> None:
    withholding = [each for each in SCHEMES if "least_honest" in secure_sums.entry(each).defaults]
    if name not in withholding:
        raise CloisterError(
            f"least_honest = {least_honest} means nothing to protocol {name!r}, which withholds no sum for it; "
            f"allowed: the protocols {', '.join(withholding)}"
        )


def _refuse_unless_checking(name: str, least_passing: int) -> None:
    statistics = robust_statistics.entries()
    checking = [each for each in statistics if "least_passing" in robust_statistics.entry(each).defaults]
    if name not in checking:
        raise CloisterError(
            f"least_passing = {least_passing} means nothing to protocol {name!r}, which asks nobody to pass; "
            f"allowed: the protocols {', '.join(checking)}"
        )


def opens_sums(spec: Spec) -> bool:
    """Return whether what is opened is the plain sum of the contributors' words."""
    return bool(robust_of(spec) is None or cluster_protocols.entry(spec.name).facts.get("opens_sums"))


def in_range_of(spec: Spec) -> ChecksRange | None:
    """Return the plug-in that the spec describes where it shows inputs to be in range before it adds them."""
    plug_in = robust_of(spec)
    return plug_in if isinstance(plug_in, ChecksRange) and plug_in.checks_inputs else None


def robust_of(spec: Spec) -> RobustStatistic | None:
    """Return the robust statistic, or the rule over hidden sums, that the spec describes; None where it is a sum.

    Raises: CloisterError for a name that two kinds have.
    """
    return cluster_protocols.robust(spec)
