"""What comes before a rule: one pre-aggregator, or several in a row."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from protocols.aggregators.pre import PreAggregator, pre_aggregators
from protocols.check import CloisterError
from protocols.registry import Spec

__all__ = ["Chain", "chain_label", "chained", "links_of", "real_links", "resolve_chain"]

_NOTHING = "none"


@dataclass(frozen=True, kw_only=True)
class Chain:
    """Two pre-aggregators or more, in the order in which they see the cluster means.

    Guarantees:
        resolve_chain() reads the configuration of a chain back to the same chain.
    """

    links: tuple[Spec, ...]

    def as_config(self) -> list[dict[str, Any]]:
        """Return the form that a configuration file uses."""
        return [link.as_config() for link in self.links]


def resolve_chain(value: object) -> Spec | Chain:
    """Return the pre-aggregator, or the chain, that a configuration names: a name, a table, or a list of these.

    "none" in a list adds nothing, and a list of one is that one, so that there is one form for each chain.
    Raises: CloisterError as a registry does, and for an empty list or a list within one.
    """
    if not isinstance(value, list | tuple):
        return pre_aggregators.resolve(value)
    parts = cast(list[object], list(value))
    if not parts or any(isinstance(part, list | tuple) for part in parts):
        raise CloisterError(
            f"pre = {value!r} is not allowed; allowed: a name, or a list of names such as bucketing, nnm"
        )
    links = tuple(pre_aggregators.resolve(part) for part in parts)
    real = tuple(link for link in links if link.name != _NOTHING)
    if len(real) < 2:
        return real[0] if real else links[0]
    return Chain(links=real)


def links_of(pre: Spec | Chain) -> tuple[Spec, ...]:
    """Return the pre-aggregators in order."""
    return pre.links if isinstance(pre, Chain) else (pre,)


def chain_label(pre: Spec | Chain, name: Callable[[Spec], str]) -> str:
    """Return a short name: links joined by +; `name` names one."""
    return " + ".join(name(link) for link in links_of(pre))


def real_links(pre: Spec | Chain) -> tuple[Spec, ...]:
    """Return the pre-aggregators in order, without those that do nothing."""
    return tuple(link for link in links_of(pre) if link.name != _NOTHING)


def chained(pre: Spec | Chain) -> tuple[PreAggregator, ...]:
    """Return the pre-aggregators themselves, without those that do nothing."""
    return tuple(pre_aggregators.make(link) for link in real_links(pre))
