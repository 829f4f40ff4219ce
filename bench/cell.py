"""One point of the grid: everything that can change a result, and its key."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache, partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

from attacks import attacks as attack_registry
from attacks.plan import Plan, label_of, specs_of
from attacks.reading import resolve_attack
from bench.chain import Chain, chain_label, links_of, resolve_chain
from bench.datasets import datasets
from bench.models import models
from bench.partitions import partitions
from bench.sources import core_files, version_of, with_imports
from bench.workers import workers
from protocols import check
from protocols.aggregators import aggregators
from protocols.aggregators.pre import pre_aggregators
from protocols.beacons import beacons
from protocols.check import CloisterError
from protocols.clustering import clusterings
from protocols.compression import compressors
from protocols.decentralised.graphs import topologies
from protocols.decentralised.rules import exchanges
from protocols.placements import placements
from protocols.playable import cluster_protocols
from protocols.privacy import mechanisms
from protocols.registry import Entry, Spec

__all__ = ["NUMBERS", "PLUGINS", "Cell", "cell_key", "config_label", "resolve"]


class Plugins(Protocol):
    """The plug-ins that an axis chooses from; see Registry."""

    def entries(self) -> dict[str, Entry]:
        """Return all plug-ins by name."""
        ...

    def entry(self, name: str) -> Entry:
        """Return the plug-in of that name."""
        ...

    def resolve(self, config: object) -> Spec:
        """Return the spec of a name, or of a name with parameters."""
        ...

    def make(self, spec: Spec) -> Any:
        """Return the plug-in that the spec describes."""
        ...


PLUGINS: Mapping[str, Plugins] = MappingProxyType(
    {
        "dataset": datasets,
        "partition": partitions,
        "model": models,
        "worker": workers,
        "attack": attack_registry,
        "placement": placements,
        "clustering": clusterings,
        "beacon": beacons,
        "protocol": cluster_protocols,
        "pre": pre_aggregators,
        "aggregator": aggregators,
        "topology": topologies,
        "exchange": exchanges,
        "compression": compressors,
        "privacy": mechanisms,
    }
)
"""The axes whose values are plug-ins, with their registries."""

NUMBERS: Mapping[str, int | float] = MappingProxyType(
    {
        "n": 20,
        "f": 0,
        "crashed": 0,
        "curious": 0,
        "cluster_size": 4,
        "domains": 1,
        "trust_quality": 0.5,
        "root_rows": 0,
        "rounds": 20,
        "participation": 1.0,
        "churn": 0.0,
        "reserve": 0,
        "local_steps": 5,
        "batch_size": 32,
        "learning_rate": 0.1,
        "server_learning_rate": 1.0,
        "evaluate_every": 1,
        "seed": 0,
    }
)
"""The axes whose values are numbers, with their defaults; an int default means that only integers are allowed."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One federated training, wholly described.

    Raises: CloisterError for numbers that make no sense together.
    """

    dataset: Spec
    partition: Spec
    model: Spec
    worker: Spec
    attack: Spec | Plan
    placement: Spec
    clustering: Spec
    beacon: Spec
    protocol: Spec
    pre: Spec | Chain
    aggregator: Spec
    topology: Spec
    exchange: Spec
    compression: Spec
    privacy: Spec
    n: int
    f: int
    crashed: int
    curious: int
    cluster_size: int
    domains: int
    trust_quality: float
    root_rows: int
    rounds: int
    participation: float
    churn: float
    reserve: int
    local_steps: int
    batch_size: int
    learning_rate: float
    server_learning_rate: float
    evaluate_every: int
    seed: int

    def __post_init__(self) -> None:
        check.integer_at_least(1, n=self.n, cluster_size=self.cluster_size, rounds=self.rounds)
        check.integer_at_least(1, local_steps=self.local_steps, batch_size=self.batch_size)
        check.integer_at_least(1, evaluate_every=self.evaluate_every)
        check.integer_at_least(0, f=self.f, crashed=self.crashed, curious=self.curious, seed=self.seed)
        check.integer_at_least(0, root_rows=self.root_rows)
        check.positive(learning_rate=self.learning_rate, server_learning_rate=self.server_learning_rate)
        if self.f >= self.n:
            raise CloisterError(
                f"f = {self.f} faulty of n = {self.n} processes is not allowed; allowed: 0 to {self.n - 1}"
            )
        if self.faulty >= self.n:
            raise CloisterError(
                f"f + crashed + curious = {self.faulty} of n = {self.n} processes is not allowed; "
                f"allowed: 0 to {self.n - 1}"
            )
        if self.cluster_size > self.n:
            raise CloisterError(
                f"cluster_size = {self.cluster_size} does not fit n = {self.n} processes; allowed: 1 to {self.n}"
            )
        check.integer_at_least(1, domains=self.domains)
        if self.domains > self.n:
            raise CloisterError(
                f"domains = {self.domains} of n = {self.n} processes is not allowed; allowed: 1 to {self.n}"
            )
        check.positive(trust_quality=self.trust_quality)
        if not 0.5 <= self.trust_quality <= 1:
            raise CloisterError(
                f"trust_quality = {self.trust_quality} is not allowed; allowed: 0.5 (says nothing) to 1 (says all)"
            )
        check.non_negative(churn=self.churn)
        if self.churn > 0.5:
            raise CloisterError(
                f"churn = {self.churn:g} is not allowed; allowed: 0 (nobody leaves) to 0.5, the share of the processes "
                f"that leave and join again between two rounds"
            )
        check.integer_at_least(0, reserve=self.reserve)
        if self.n - self.reserve < self.cluster_size:
            raise CloisterError(
                f"reserve = {self.reserve} of n = {self.n} processes is not allowed with cluster_size = "
                f"{self.cluster_size}; allowed: 0 to {self.n - self.cluster_size}"
            )
        check.positive(participation=self.participation)
        if self.participation > 1 or self.participants < self.cluster_size:
            raise CloisterError(
                f"participation = {self.participation} of n = {self.n} processes is not allowed with "
                f"cluster_size = {self.cluster_size}; allowed: {self.cluster_size / self.n:.3g} to 1"
            )

    @property
    def faulty(self) -> int:
        """The number of faulty processes of any kind: f Byzantine ones, crashed ones and curious ones."""
        return self.f + self.crashed + self.curious

    @property
    def decentralised(self) -> bool:
        """Whether there is no server, so that clusters exchange their models with each other."""
        return not topologies.entry(self.topology.name).facts.get("server")

    @property
    def participants(self) -> int:
        """The number of processes that take part in each round: the nearest integer to participation x n.

        Of n less the reserve, where there is one: who has not joined yet does not take part.
        """
        return round(self.participation * (self.n - self.reserve))

    def as_config(self) -> dict[str, Any]:
        """Return plain values, plug-ins with all their parameters."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {
            key: value.as_config() if isinstance(value, Spec | Plan | Chain) else value for key, value in values.items()
        }

    def labels(self) -> dict[str, Any]:
        """Return the short names of a report: plug-ins with the parameters that differ from their defaults."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {
            key: _label(key, value) if isinstance(value, Spec | Plan | Chain) else value
            for key, value in values.items()
        }


def _label(axis: str, value: Spec | Plan | Chain) -> str:
    name = partial(config_label, axis)
    return chain_label(value, name) if isinstance(value, Chain) else label_of(value, name)


def resolve(axis: str, value: object) -> Spec | Plan | Chain:
    """Return the plug-in that a configuration names on an axis; a plan of several attacks, a chain before the rule."""
    if axis == "pre":
        return resolve_chain(value)
    return resolve_attack(value) if axis == "attack" else PLUGINS[axis].resolve(value)


def config_label(axis: str, spec: Spec) -> str:
    """Return a plug-in's name with the parameters that differ from their defaults."""
    defaults = PLUGINS[axis].entry(spec.name).defaults
    return str(Spec(name=spec.name, parameters=tuple((k, v) for k, v in spec.parameters if v != defaults.get(k))))


def cell_key(cell: Cell, data_fingerprint: str) -> str:
    """Return the key of a result: a hash of the cell, of the code that computes it and of its data.

    The code is Cloister's own, each plug-in's file, and the versions of the packages that compute results; what a third
    party's plug-in imports of its own package is not looked at.

    Guarantees:
        Cells that differ in any value, a plug-in's parameter included, have different keys.
        A change of a plug-in's file changes the keys of the cells that use it or one that imports it, and of no others.
    """
    parts = [json.dumps(cell.as_config(), sort_keys=True), code_fingerprint(cell), data_fingerprint]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:24]


def code_fingerprint(cell: Cell) -> str:
    """Return a hash of the source files that a cell's result depends on.

    They are those that run every cell, the cell's plug-ins', and what these import: an attack that moves the faulty
    processes imports a placement, which may import the analysis of tolerance.
    """
    core = _core_files()
    used = [PLUGINS[axis].entry(spec.name).file for axis in PLUGINS for spec in _specs(getattr(cell, axis))]
    digest = hashlib.sha256(_core_digest().encode())
    for file in (found for each in used for found in with_imports(each, core)):
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


def _specs(value: Spec | Plan | Chain) -> tuple[Spec, ...]:
    return links_of(value) if isinstance(value, Chain) else specs_of(value)


# What computes a result beside Cloister: updates and sums, data sets and clusterings, statistics, graphs, epsilons.
_PACKAGES = ("torch", "numpy", "numba", "crypten", "scikit-learn", "scipy", "networkx", "dp-accounting")


@cache
def _core_digest() -> str:
    versions = {name: version_of(name) for name in _PACKAGES}
    digest = hashlib.sha256(json.dumps(versions).encode())
    for file in _core_files():
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


@cache
def _core_files() -> tuple[Path, ...]:
    return core_files(entry.file for registry in PLUGINS.values() for entry in registry.entries().values())
