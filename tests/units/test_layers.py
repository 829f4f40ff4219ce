"""The layers point one way, and rare imports stay in their one module."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LAYERS = ("protocols", "attacks", "bench", "tests")
ONE_PLACE = {
    "crypten": {"protocols/crypten_engine.py"},
    "seaborn": {"bench/report/canvas.py"},
    "dp_accounting": {"protocols/privacy/ledger.py"},
    "typer": {"bench/cli.py"},
    "torchvision": set(),
    "pickle": set(),
}


def imported(source: str) -> set[str]:
    """The top-level names that a module imports, inside its functions too."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return {name.partition(".")[0] for name in names}


def modules(layer: str) -> list[Path]:
    return sorted((ROOT / layer).rglob("*.py"))


def upward_imports(layer: str, source: str) -> set[str]:
    return imported(source) & set(LAYERS[LAYERS.index(layer) + 1 :])


@pytest.mark.parametrize("layer", LAYERS[:-1])
def test_a_layer_imports_nothing_from_the_layers_above_it(layer: str) -> None:
    assert modules(layer)
    for path in modules(layer):
        assert not upward_imports(layer, path.read_text()), f"{path} imports from a layer above"


@pytest.mark.parametrize(("package", "allowed"), ONE_PLACE.items())
def test_a_rare_import_stays_in_its_one_module(package: str, allowed: set[str]) -> None:
    found = {
        str(path.relative_to(ROOT))
        for layer in LAYERS[:-1]
        for path in modules(layer)
        if package in imported(path.read_text())
    }
    assert found == allowed


def test_an_upward_import_inside_a_function_is_seen() -> None:
    assert upward_imports("protocols", "def f():\n    from bench.cell import Cell\n") == {"bench"}
