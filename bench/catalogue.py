"""What there is to choose from: every plug-in with its parameters and source, and the presets."""

import tomllib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.cell import PLUGINS
from bench.experiment import preset_names, read_preset
from protocols.check import one_of

__all__ = ["KINDS", "describe", "print_catalogue"]

# The plural that `bench list` takes, and the axis that it shows.
_AXES: Mapping[str, str] = MappingProxyType(
    {
        "attacks": "attack",
        "placements": "placement",
        "clusterings": "clustering",
        "beacons": "beacon",
        "protocols": "protocol",
        "pre": "pre",
        "aggregators": "aggregator",
        "topologies": "topology",
        "exchanges": "exchange",
        "compressions": "compression",
        "privacy": "privacy",
        "datasets": "dataset",
        "partitions": "partition",
        "models": "model",
        "workers": "worker",
    }
)
# What else of a kind's registration is told.
_FACTS: Mapping[str, tuple[str, ...]] = MappingProxyType({"attacks": ("surface", "knowledge")})
KINDS = (*_AXES, "presets")


def describe(kind: str) -> list[dict[str, Any]]:
    """Return name, summary, parameters with defaults, and source of each; of attacks also surface and knowledge.

    Raises: CloisterError for an unknown kind.
    """
    one_of(KINDS, kind=kind)
    if kind == "presets":
        return [_describe_preset(name) for name in preset_names()]
    return [
        {"name": entry.name, "summary": entry.summary, "parameters": entry.defaults, "source": entry.source}
        | {fact: entry.facts.get(fact, "") for fact in _FACTS.get(kind, ())}
        for entry in PLUGINS[_AXES[kind]].entries().values()
    ]


def _describe_preset(name: str) -> dict[str, Any]:
    config = tomllib.loads(read_preset(name))
    return {
        "name": name,
        "summary": config["title"],
        "parameters": config.get("defaults", {}),
        "source": f"bench/presets/{name}.toml",
    }


def print_catalogue(kinds: tuple[str, ...], console: Console) -> None:
    """Print one table a kind."""
    for kind in kinds:
        facts = _FACTS.get(kind, ())
        heads = ("name", *facts, "what it is", "parameters", "source")
        table = Table(*heads, title=kind, title_justify="left", title_style="bold")
        for item in describe(kind):
            parameters = ", ".join(f"{key}={value}" for key, value in item["parameters"].items())
            told = (item[fact] for fact in facts)
            table.add_row(item["name"], *told, item["summary"], parameters if kind != "presets" else "", item["source"])
        console.print(table)
