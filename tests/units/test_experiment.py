"""From TOML to cells: what is refused and how, and what makes two cells the same."""

import ast
import dataclasses
import importlib.metadata
import sys
from pathlib import Path

import pytest

from bench import cell as cell_module
from bench.cell import NUMBERS, PLUGINS, cell_key, code_fingerprint
from bench.data import Dataset
from bench.environment import describe_environment
from bench.experiment import (
    DEFAULTS,
    load_experiment,
    parse_experiment,
    parse_setting,
    preset_names,
)
from bench.grid import expand, skip_reason
from bench.sources import with_imports
from protocols.check import CloisterError


def cells_of(text: str):
    return expand(parse_experiment(text, name="test"))


def test_an_empty_experiment_is_one_cell_of_defaults() -> None:
    (cell,) = cells_of("")
    assert cell.labels() == {**DEFAULTS, "exchange": "none"}  # with a server, which is the default


def test_a_block_is_the_product_of_its_axes() -> None:
    cells = cells_of('seeds = [0, 1]\n[[grid]]\nattack = ["none", "ipm"]\naggregator = ["mean", "median", "krum"]')
    assert len(cells) == 12


def test_a_block_replaces_the_defaults_and_settings_replace_both() -> None:
    experiment = parse_experiment("[defaults]\nn = 30\n[[grid]]\nn = 40\n[[grid]]\nf = 1", name="test")
    assert [cell.n for cell in expand(experiment)] == [40, 30]
    assert [cell.n for cell in expand(experiment.with_settings({"n": [50], "f": [2]}))] == [50]


def test_cells_that_say_the_same_are_run_once() -> None:
    """Without clusters the cluster size means nothing."""
    cells = cells_of('[[grid]]\nclustering = ["singletons", "random"]\ncluster_size = [4, 5]')
    assert [(cell.clustering.name, cell.cluster_size) for cell in cells] == [
        ("singletons", 1),
        ("random", 4),
        ("random", 5),
    ]


def test_an_experiment_written_out_reads_back_to_the_same_cells() -> None:
    experiment = load_experiment("quick").with_settings({"attack": [{"name": "ipm", "tau": 2.0}], "seed": [7]})
    again = parse_experiment(experiment.to_toml(), name="again")
    assert expand(again) == expand(experiment)


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_expands_to_cells_and_writes_them_out(name: str) -> None:
    experiment = load_experiment(name)
    cells = expand(experiment)
    assert cells
    assert expand(parse_experiment(experiment.to_toml(), name="again")) == cells


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("attack = 'ipm'", r"'attack' in experiment 'test' is unknown.*\[defaults\]"),
        ("[defaults]\natack = 'ipm'", r"axis 'atack' in defaults is unknown \(did you mean 'attack'\?\)"),
        ("[[grid]]\nround = 3", r"axis 'round' in grid is unknown \(did you mean 'rounds'\?\)"),
        ("[[grid]]\nattack = 'imp'", r"attack = 'imp' is unknown \(did you mean 'ipm'\?\)"),
        ("[[grid]]\nattack = {name = 'ipm', tua = 1.0}", r"no parameter 'tua' \(did you mean 'tau'\?\)"),
        ("[[grid]]\nattack = {name = 'ipm', tau = 'big'}", r"tau = 'big' is not allowed"),
        ("[[grid]]\nattack = {tau = 1.0}", "has no name"),
        ("[[grid]]\nattack = 3", "attack = 3 is not allowed"),
        ("[[grid]]\nattack = []", "axis 'attack' has no value"),
        ("[[grid]]\nn = 20.5", "n = 20.5 is not allowed; allowed: an integer"),
        ("[[grid]]\nn = true", "n = True is not allowed"),
        ("[[grid]]\nn = 4\nf = 4", "f = 4 faulty of n = 4 processes is not allowed; allowed: 0 to 3"),
        ("[[grid]]\nn = 4\ncluster_size = 5", "cluster_size = 5 does not fit n = 4"),
        ("[[grid]]\nrounds = 0", "rounds = 0 is not allowed"),
        ("[[grid]]\nlearning_rate = 0", "learning_rate = 0.0 is not allowed"),
        ("[[grid]]\nprivacy = {name = 'local', noise_multiplier = -1.0}", "noise_multiplier = -1.0 is not allowed"),
        ("grid = 3", "grid in experiment 'test' is not a list of tables"),
        ("= 3", "is not valid TOML"),
    ],
)
def test_a_mistake_is_one_clear_error(text: str, message: str) -> None:
    with pytest.raises(CloisterError, match=message):
        cells_of(text)


def test_an_unknown_preset_or_file_is_refused_with_the_closest_name(tmp_path: Path) -> None:
    with pytest.raises(CloisterError, match=r"preset = 'quik' is unknown \(did you mean 'quick'\?\)"):
        load_experiment("quik")
    with pytest.raises(CloisterError, match="does not exist"):
        load_experiment(str(tmp_path / "mine.toml"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("attack=none,ipm", ("attack", ["none", "ipm"])),
        ('attack=none,{name="ipm", tau=2.0}', ("attack", ["none", {"name": "ipm", "tau": 2.0}])),
        ("n=10, 20", ("n", [10, 20])),
        ("learning_rate=0.5", ("learning_rate", [0.5])),
    ],
)
def test_a_setting_holds_words_numbers_or_tables(text: str, expected: tuple[str, list[object]]) -> None:
    assert parse_setting(text) == expected


@pytest.mark.parametrize("text", ["attack", "attack=", "n=ten", "n=", "colour=red", 'attack={name="ipm"'])
def test_a_setting_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(CloisterError, match=r"allowed"):
        parse_setting(text)


class TestKeys:
    def test_every_axis_is_in_the_key(self) -> None:
        (cell,) = cells_of("")
        others = {
            "dataset": "breast_cancer",
            "partition": "dirichlet",
            "model": "logistic",
            "worker": "momentum",
            "attack": "ipm",
            "placement": "packed",
            "clustering": "round_robin",
            "beacon": "shared",
            "protocol": "plaintext",
            "pre": "nnm",
            "aggregator": "krum",
            "topology": "ring",
            "exchange": "nna",
            "compression": "rand_k",
            "privacy": "local",
        }
        changed = {axis: PLUGINS[axis].resolve(name) for axis, name in others.items()}
        fractions = {"participation": 0.5, "trust_quality": 0.75, "churn": 0.25}
        changed |= {axis: getattr(cell, axis) + 1 for axis in NUMBERS if axis not in fractions}
        changed |= fractions
        keys = {cell_key(dataclasses.replace(cell, **{axis: value}), "data") for axis, value in changed.items()}
        assert len(keys) == len(dataclasses.fields(cell)) == len(changed)
        assert cell_key(cell, "data") not in keys

    def test_a_plug_ins_parameter_is_in_the_key(self) -> None:
        cells = cells_of('[[grid]]\nattack = [{name = "ipm", tau = 1.5}, {name = "ipm", tau = 2.0}]')
        assert len({cell_key(cell, "data") for cell in cells}) == 2

    def test_a_default_that_is_written_out_gives_the_same_key(self) -> None:
        cells = cells_of('[[grid]]\nattack = ["ipm", {name = "ipm", tau = 1.0}]')
        assert len(cells) == 1

    def test_other_data_give_another_key(self) -> None:
        (cell,) = cells_of("")
        assert cell_key(cell, "data") != cell_key(cell, "other data")

    def test_a_changed_plug_in_changes_the_cells_that_use_it_and_no_others(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        plain, attacked = cells_of('[[grid]]\nattack = ["none", "ipm"]')
        before = code_fingerprint(plain), code_fingerprint(attacked)
        entry = PLUGINS["attack"].entry("ipm")
        edited = tmp_path / "ipm.py"
        edited.write_bytes(entry.file.read_bytes() + b"\n# changed\n")
        monkeypatch.setattr(type(entry), "file", property(lambda self: edited if self is entry else original(self)))
        assert code_fingerprint(plain) == before[0]
        assert code_fingerprint(attacked) != before[1]

    def test_the_code_of_a_round_is_in_the_key_and_the_report_is_not(self) -> None:
        names = {path.name for path in cell_module._core_files()}
        assert {"round.py", "crypten_engine.py", "ring.py", "api.py", "_dense.py"} <= names
        assert {"replaying.py", "affine.py", "schemes.py"} <= names  # decide observed_private and the verdict
        assert not names & {"cli.py", "figures.py", "ipm.py"}

    @pytest.mark.parametrize(
        ("attack", "changed"),
        [("spread_taint", "spread"), ("pack_break", "worst"), ("rejoin", "uniform"), ("rejoin", "rejoin")],
    )
    def test_what_a_plug_in_imports_is_in_the_key_of_the_cells_that_use_it(
        self, monkeypatch: pytest.MonkeyPatch, attack: str, changed: str
    ) -> None:
        importing, other = cells_of(f"[[grid]]\nplacement = 'packed'\nattack = ['{attack}', 'ipm']")
        before = code_fingerprint(importing), code_fingerprint(other)
        read = Path.read_bytes
        monkeypatch.setattr(Path, "read_bytes", lambda self: read(self) + (b"#" if self.stem == changed else b""))
        assert code_fingerprint(importing) != before[0]
        assert code_fingerprint(other) == before[1]

    def test_the_core_has_all_that_it_imports_but_plug_ins(self) -> None:
        plugins = {entry.file for registry in PLUGINS.values() for entry in registry.entries().values()}
        core = set(cell_module._core_files())
        assert not core & plugins
        assert {found for file in core for found in with_imports(file)} <= core | plugins
        assert {found for file in core - replaying() for found in with_imports(file)} & replaying()  # one left out

    def test_the_version_of_each_package_that_results_depend_on_is_in_the_key(self, monkeypatch) -> None:
        plugins = {entry.file for registry in PLUGINS.values() for entry in registry.entries().values()}
        files = {found for file in {*cell_module._core_files(), *plugins} for found in with_imports(file)}
        nodes = [node for file in files for node in ast.walk(ast.parse(file.read_bytes()))]
        names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
        names |= {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module}
        found = {name.split(".")[0] for name in names} - sys.stdlib_module_names - {"protocols", "attacks", "bench"}
        found -= {"pydantic", "cryptography", "pandas"}  # check, seal and keep numbers, and compute none
        called = {"sklearn": "scikit-learn", "dp_accounting": "dp-accounting"}
        assert {called.get(name, name) for name in found} == set(cell_module._PACKAGES)
        before, version = cell_module._core_digest.__wrapped__(), importlib.metadata.version
        for package in cell_module._PACKAGES:
            newer = {package: version(package) + "+1"}
            monkeypatch.setattr(importlib.metadata, "version", lambda name, newer=newer: newer.get(name, version(name)))
            assert cell_module._core_digest.__wrapped__() != before

    def test_a_result_without_numba_has_another_key_than_one_with_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with_it, version = cell_module._core_digest.__wrapped__(), importlib.metadata.version

        def without(name: str) -> str:
            if name == "numba":
                raise importlib.metadata.PackageNotFoundError(name)
            return version(name)

        monkeypatch.setattr(importlib.metadata, "version", without)
        assert cell_module._core_digest.__wrapped__() != with_it
        assert describe_environment(["bench"])["packages"]["numba"] == "none"


def replaying() -> set[Path]:
    return {file for file in cell_module._core_files() if file.name == "replaying.py"}


original = type(PLUGINS["attack"].entry("ipm")).file.fget


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("model = 'cnn'", "square images"),
        ("partition = 'natural'", "group"),
        ("aggregator = 'krum'\nn = 8\ncluster_size = 4", "krum is not defined for 2 clusters"),
        ("n = 2000", "cannot share"),
        ("protocol = 'shamir'\ncluster_size = 3", "which hides nothing"),
        ("protocol = 'committee'\nclustering = 'singletons'", "committee: "),
    ],
)
def test_a_combination_that_cannot_be_run_is_skipped_with_its_reason(digits: Dataset, text: str, reason: str) -> None:
    (cell,) = cells_of(f"[[grid]]\n{text}")
    assert reason in str(skip_reason(cell, digits))


def test_a_combination_that_can_be_run_is_not_skipped(digits: Dataset) -> None:
    (cell,) = cells_of("")
    assert skip_reason(cell, digits) is None
