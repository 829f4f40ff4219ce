"""The layers point one way, and rare imports stay in their one module."""

import ast
from functools import cache
from itertools import chain
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LAYERS = ("protocols", "attacks", "bench", "tests")
ONE_PLACE = {
    "crypten": {"protocols/crypten_engine.py"},
    "numba": {"protocols/kernels.py"},
    "seaborn": {"bench/report/canvas.py"},
    "dp_accounting": {"protocols/privacy/ledger.py"},
    "networkx": {"protocols/decentralised/graphs/_networkx.py"},
    "typer": {"bench/cli.py", "bench/cli_peers.py", "bench/cli_tolerance.py"},
    "torchvision": set(),
    "pickle": set(),
}


KINDS_OF_LINKS = {
    "protocols.tcp_link",
    "protocols.tcp_transfer",
    "protocols.mesh",
    "protocols.party_pool",
    "protocols.party_process",
    "protocols.in_process_link",
    "protocols.in_process",
    "protocols.faults",
    "socket",
}


@cache
def imported_modules(source: str) -> frozenset[str]:
    """The modules that a module imports, inside its functions too."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return frozenset(names)


def imported(source: str) -> set[str]:
    """The top-level names that a module imports."""
    return {name.partition(".")[0] for name in imported_modules(source)}


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


def test_a_protocol_knows_links_only_by_their_contract() -> None:
    """So that the very code that is measured over TCP is the one that tests replay in process."""
    rooms = [ROOT / "protocols" / room for room in ("secure_sum", "secure_robust")]
    files = [sorted(room.glob("*.py")) for room in rooms]
    assert min(map(len, files)) > 3
    for path in chain(*files):
        assert not imported_modules(path.read_text()) & KINDS_OF_LINKS, f"{path} knows a kind of link"


@pytest.mark.parametrize(
    "source",
    ["from protocols.tcp_link import TcpLink", "from protocols import in_process", "def f():\n    import socket"],
)
def test_a_protocol_that_knows_a_kind_of_link_is_seen(source: str) -> None:
    assert imported_modules(source) & KINDS_OF_LINKS
