"""Changes the core of the protocols at random, one small change at a time, and looks whether its own tests notice.

    python -m tests.meta.mutate --sample 300 --seed 1     300 changes, drawn from all
    python -m tests.meta.mutate --module protocols/ring.py     those of one module only

The changes are those of cosmic-ray (`pip install cosmic-ray`): another operator, comparison, number, keyword; a
loop that does not run, a decorator less. Each is planted into a fork of one warm process, which runs the module's tests
up to the first that fails; a change that makes them run for ever counts as noticed. Whatever survives is printed.
"""

import argparse
import ast
import difflib
import os
import resource
import signal
import sys
import time
import warnings
from collections import Counter
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from tests.meta.hunt import warm_up
from tests.meta.plant import ROOT, plant_source

__all__ = ["CORE", "only_annotations"]

_MASKED = ("tests/properties/test_masked.py", "tests/properties/test_masked_lies.py", "tests/units/test_masking.py")
CORE: dict[str, tuple[str, ...]] = {
    "protocols/ring.py": ("tests/units/test_ring.py",),
    "protocols/field.py": ("tests/units/test_field.py",),
    "protocols/field_arithmetic.py": ("tests/units/test_field.py",),
    "protocols/polynomials.py": ("tests/units/test_polynomials.py",),
    "protocols/reed_solomon.py": ("tests/units/test_reed_solomon.py",),
    "protocols/randomness.py": ("tests/units/test_randomness.py",),
    "protocols/secret_source.py": ("tests/units/test_secret_source.py",),
    "protocols/zero_sharing.py": ("tests/units/test_zero_sharing.py",),
    "protocols/secure_sum/additive.py": ("tests/properties/test_secure_sum.py", "-k", "additive and not stock"),
    "protocols/secure_sum/_publish.py": (
        "tests/units/test_publish.py",
        "tests/properties/test_secure_sum.py",
        "-k",
        "publish or additive and not stock",
    ),
    "protocols/secure_sum/shamir.py": (
        "tests/properties/test_secure_sum.py",
        "tests/properties/test_verified_dealing.py",
        "-k",
        "shamir or verified",
    ),
    "protocols/secure_sum/masked.py": _MASKED,
    "protocols/secure_sum/_masking.py": _MASKED,
    "protocols/secure_sum/_masked_member.py": _MASKED,
    "protocols/secure_sum/_masked_server.py": _MASKED,
    "protocols/secure_sum/_key_shares.py": _MASKED,
}
"""Each module of the core, and the pytest arguments of its tests."""

_LONGEST_S = 60
_NO_END = (-signal.SIGALRM, -signal.SIGXCPU, -signal.SIGKILL)
"""How a fork ends that has taken too much processor time, or waits for ever."""
_NEED_NAMES = ("VariableReplacer", "VariableInserter")
"""These want to be told which variables they should exchange."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """One change of one module: the source with it, and how it differs."""

    module: str
    operator: str
    source: str

    def diff(self) -> str:
        """Return the lines that differ."""
        old = (ROOT / self.module).read_text().splitlines()
        lines = difflib.unified_diff(old, self.source.splitlines(), self.module, self.operator, n=0, lineterm="")
        return "\n".join(lines)


def candidates_of(module: str) -> list[tuple[str, str, int]]:
    """Return (module, operator, number) of every place of the module that cosmic-ray knows to change."""
    from cosmic_ray.ast import ast_nodes, get_ast
    from cosmic_ray.operators.provider import OperatorProvider

    operators, nodes = OperatorProvider(), list(ast_nodes(get_ast((ROOT / module).read_text())))
    counts = {
        name: sum(1 for node in nodes for _ in operators[name]().mutation_positions(node))
        for name in operators
        if name not in _NEED_NAMES
    }
    return [(module, name, number) for name, count in counts.items() for number in range(count)]


def change_of(module: str, operator: str, number: int) -> Change | None:
    """Return the change, or None where the source does not compile any more, or differs in type annotations alone."""
    from cosmic_ray.mutating import mutate_code
    from cosmic_ray.operators.provider import OperatorProvider

    source = (ROOT / module).read_text()
    changed = mutate_code(source, OperatorProvider()[operator](), number)
    if changed is None or not _compiles(changed) or only_annotations(source, changed):
        return None
    return Change(module=module, operator=operator, source=changed)


def _compiles(source: str) -> bool:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # `is` with a number
            compile(source, "changed", "exec")
    except SyntaxError:
        return False
    return True


class _Bare(ast.NodeTransformer):
    """Takes type annotations away."""

    def visit_arg(self, node: ast.arg) -> ast.AST:
        """Of a parameter."""
        node.annotation = None
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        """Of what a function returns."""
        node.returns = None
        return self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        """Of a variable."""
        node.annotation = ast.Name("object")
        return self.generic_visit(node)


def only_annotations(source: str, changed: str) -> bool:
    """Return whether two sources differ in type annotations alone."""
    return ast.dump(_Bare().visit(ast.parse(source))) == ast.dump(_Bare().visit(ast.parse(changed)))


def outcome_of(change: Change) -> str:
    """Return "killed", "for ever" or "SURVIVED". Raises: RuntimeError if pytest fails in another way."""
    sys.stdout.flush()
    process = os.fork()
    if process == 0:
        resource.setrlimit(resource.RLIMIT_CPU, (_LONGEST_S, _LONGEST_S))
        signal.alarm(10 * _LONGEST_S)  # one that waits takes no processor time
        try:
            os._exit(_run(change))
        finally:
            os._exit(1)  # what cannot even be loaded is noticed
    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    if code not in (0, 1, 2, *_NO_END):
        raise RuntimeError(f"pytest exit code {code} under\n{change.diff()}")
    return "SURVIVED" if code == 0 else "for ever" if code in _NO_END else "killed"


def _run(change: Change) -> int:
    import pytest

    for stream in (1, 2):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
    quiet: list[Any] = ["-q", "-x", "-n", "0", "-p", "no:cacheprovider"]
    quiet += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]
    return int(pytest.main([*quiet, *CORE[change.module]], plugins=[plant_source(change.module, change.source)]))


def main() -> int:
    """Return 0 whatever survives: each survivor wants a test or an explanation."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sample", type=int)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--module", action="append", choices=sorted(CORE))
    parser.add_argument("--seconds", type=float, default=float("inf"))
    options = parser.parse_args()
    places = [place for module in options.module or CORE for place in candidates_of(module)]
    order = np.random.default_rng(options.seed).permutation(len(places))
    every = filter(None, (change_of(*places[int(number)]) for number in order))
    warm_up()
    print(f"{options.sample or 'all'} of about {len(places)} changes, seed {options.seed}", flush=True)
    counts: Counter[str] = Counter()
    survivors: list[Change] = []
    started = time.monotonic()
    for change in islice(every, options.sample):
        if time.monotonic() - started > options.seconds:
            break
        begun, outcome = time.monotonic(), outcome_of(change)
        counts[outcome] += 1
        print(f"{outcome:8s} {time.monotonic() - begun:5.1f} s  {change.module} {change.operator}", flush=True)
        if outcome == "SURVIVED":
            survivors.append(change)
            print(change.diff(), flush=True)
    print(f"{counts.total()} changes: {dict(counts)}")
    print(*(change.diff() for change in survivors), sep="\n\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
