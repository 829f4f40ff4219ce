"""Experiments as TOML files: a title, seeds, defaults, and blocks of a grid."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, cast

import tomli_w

from bench.cell import NUMBERS, PLUGINS, resolve
from protocols import check
from protocols.check import CloisterError, suggestion

__all__ = ["DEFAULTS", "Experiment", "load_experiment", "parse_setting", "preset_names", "read_preset"]

DEFAULTS: Mapping[str, Any] = {
    "dataset": "digits",
    "partition": "iid",
    "model": "mlp",
    "worker": "sgd",
    "attack": "none",
    "placement": "uniform",
    "clustering": "random",
    "beacon": "given",
    "protocol": "additive",
    "pre": "none",
    "aggregator": "median",
    "topology": "server",
    "exchange": "gossip",
    "compression": "none",
    "privacy": "none",
    **NUMBERS,
}
"""The value of every axis that an experiment does not set."""

_TOP_LEVEL = ("title", "description", "seeds", "defaults", "grid")


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """A title and blocks of axes; every block is the product of its axes' values."""

    name: str
    title: str
    description: str
    blocks: tuple[Mapping[str, tuple[Any, ...]], ...]

    def with_settings(self, settings: Mapping[str, Sequence[Any]]) -> "Experiment":
        """Return the experiment with these axes replaced in every block."""
        for axis in settings:
            _check_axis(axis, "--set")
        changed = tuple(
            {**block, **{axis: tuple(values) for axis, values in settings.items()}} for block in self.blocks
        )
        return Experiment(name=self.name, title=self.title, description=self.description, blocks=changed)

    def to_toml(self) -> str:
        """Return a file that load_experiment() reads back to the same cells, every parameter written out."""
        grid = [
            {axis: [_resolved(axis, value) for value in values] for axis, values in block.items()}
            for block in self.blocks
        ]
        return tomli_w.dumps({"title": self.title, "description": self.description, "grid": grid})


def _resolved(axis: str, value: Any) -> Any:
    if axis not in PLUGINS:
        return value
    return _without_nulls(resolve(axis, value).as_config())


def _without_nulls(config: Any) -> Any:
    """Return the configuration without what is None: TOML knows no null, so it is left out."""
    if isinstance(config, dict):
        return {key: _without_nulls(each) for key, each in cast(dict[str, Any], config).items() if each is not None}
    return [_without_nulls(each) for each in cast(list[Any], config)] if isinstance(config, list) else config


def preset_names() -> list[str]:
    """Return the names of the presets that come with the bench."""
    files = resources.files("bench.presets").iterdir()
    return sorted(file.name.removesuffix(".toml") for file in files if file.name.endswith(".toml"))


def read_preset(name: str) -> str:
    """Return the text of a preset."""
    check.one_of(preset_names(), preset=name)
    return (resources.files("bench.presets") / f"{name}.toml").read_text(encoding="utf-8")


def load_experiment(name_or_file: str) -> Experiment:
    """Return the experiment of a preset's name or of a TOML file.

    Raises: CloisterError naming the key, the value and what is allowed.
    """
    path = Path(name_or_file)
    if path.suffix == ".toml":
        if not path.is_file():
            raise CloisterError(f"experiment file {name_or_file!r} does not exist; allowed: a TOML file or a preset")
        try:
            return parse_experiment(path.read_text(encoding="utf-8"), name=path.stem)
        except (OSError, UnicodeDecodeError) as error:
            raise CloisterError(f"experiment file {name_or_file!r} cannot be read: {error}") from None
    if name_or_file not in preset_names():
        names = ", ".join(preset_names())
        raise CloisterError(
            f"preset = {name_or_file!r} is unknown{suggestion(name_or_file, preset_names())}; "
            f"allowed: {names}, or a file that ends in .toml"
        )
    return parse_experiment(read_preset(name_or_file), name=name_or_file)


def parse_experiment(text: str, *, name: str) -> Experiment:
    """Return the experiment that a TOML text describes."""
    try:
        config = tomllib.loads(text)
    except ValueError as error:  # tomllib's own error, or a number too long to read
        raise CloisterError(f"experiment {name!r} is not valid TOML: {error}") from None
    for key in config:
        if key not in _TOP_LEVEL:
            raise CloisterError(
                f"{key!r} in experiment {name!r} is unknown{suggestion(key, _TOP_LEVEL)}; "
                f"allowed: {', '.join(_TOP_LEVEL)}; axes belong into [defaults] or [[grid]]"
            )
    defaults = _table(config.get("defaults", {}), "defaults")
    grid = config.get("grid", [{}])
    if not isinstance(grid, list) or not grid:
        raise CloisterError(f"grid in experiment {name!r} is not a list of tables; allowed: [[grid]] blocks")
    seeds = {"seed": config["seeds"]} if "seeds" in config else {}
    blocks = tuple(_block({**DEFAULTS, **seeds, **defaults, **_table(block, "grid")}) for block in grid)
    title = str(config.get("title", name))
    return Experiment(name=name, title=title, description=str(config.get("description", "")), blocks=blocks)


def _table(table: Any, where: str) -> dict[str, Any]:
    if not isinstance(table, dict):
        raise CloisterError(f"{where} = {table!r} is not a table of axes")
    for axis in table:
        _check_axis(axis, where)
    return table


def _check_axis(axis: str, where: str) -> None:
    axes = [*PLUGINS, *NUMBERS]
    if axis not in axes:
        raise CloisterError(f"axis {axis!r} in {where} is unknown{suggestion(axis, axes)}; allowed: {', '.join(axes)}")


def _block(axes: Mapping[str, Any]) -> dict[str, tuple[Any, ...]]:
    block = {axis: tuple(value) if isinstance(value, list) else (value,) for axis, value in axes.items()}
    for axis, values in block.items():
        if not values:
            raise CloisterError(f"axis {axis!r} has no value; allowed: one or more")
    return block


def parse_setting(text: str) -> tuple[str, list[Any]]:
    """Return the axis and the values of `axis=value[,value]`; values are words, numbers or {name = ..., ...}."""
    axis, equals, values = text.partition("=")
    if not equals or not values.strip():
        raise CloisterError(f"--set {text!r} is not allowed; allowed: axis=value[,value], such as attack=none,ipm")
    axis = axis.strip()
    _check_axis(axis, "--set")
    return axis, [_parse_value(axis, part) for part in _split_at_commas(values)]


def _split_at_commas(text: str) -> list[str]:
    """Split at the commas that stand outside braces and brackets."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter in "{[") - (letter in "}]")
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts]


def _parse_value(axis: str, text: str) -> Any:
    if axis in PLUGINS and not text.startswith(("{", "[")):
        return text
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except ValueError:
        allowed = "a number" if axis in NUMBERS else 'a name, {name = "...", parameter = value}, or a list of these'
        raise CloisterError(f"--set {axis} = {text!r} is not allowed; allowed: {allowed}") from None
