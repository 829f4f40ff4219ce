"""Writes what the suite and the counterexamples say about other people's systems.

    python -m tests.systems.report reports/systems

makes `systems.json` and `systems.html` in that folder. All systems must be installed, by the extra `systems`; CrypTen's
own tests are fetched by pip, unless --crypten-tests says where they are.
"""

import argparse
import json
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment

from protocols.check import CloisterError
from protocols.registry import Spec
from protocols.secure_sum import secure_sums
from protocols.testing import examples_of
from protocols.testing.invariants import PROTOCOL, Effort, effort_named
from protocols.testing.suite import Result, claims_of, examine
from tests.systems.crypten_own_tests import Ended, fetched, run_all
from tests.systems.under_test import SYSTEMS, on_the_bench
from tests.systems.verdicts import COUNTEREXAMPLES, Counterexample, Verdict, installed, run_together

__all__ = ["counterexample_rows", "main", "own_tests", "page", "system_row"]

_JUDGED = ("holds", "violated as documented", "violated")
_OURS = (
    "A protocol of Cloister that runs CrypTen's sum as it comes, judged on every invariant. Theirs are the seeds, the "
    "shares of zero, the sharing and the opening; ours are the network, the messages to and from the board, and the "
    "fixed-point codec: so I1 to I3 say nothing of CrypTen's `FixedPointEncoder`, whose decoding is off by one for "
    "some negative numbers (script crypten_decode; crypten_nan and crypten_numpy_floats show its encoding). The sum "
    "uses no triple and no product. CrypTen's providers TFP, TTP and HE, and its protocol `replicated`, change "
    "products alone, while additions and openings stay the same; a secure sum with them would be this one again, and "
    "its invariants would say nothing of them. So they are no rows here but scripts: crypten_provider_first_party, "
    "crypten_provider_third_party, crypten_provider_homomorphic, crypten_replicated_leak, crypten_replicated_four, and "
    "crypten_truncation for how products are rescaled between two parties."
)


def system_row(name: str, effort: Effort) -> dict[str, Any]:
    """Return what the suite says about one system: a row for each invariant that says anything about it."""
    with on_the_bench(name):
        entry = secure_sums.entry(name)
        specs = [spec for spec in examples_of(secure_sums) if spec.name == name]
        specs = specs if "claims" in entry.facts else specs[:1]  # the defaults of what is Cloister's own
        found = {each.name: [examine(spec, each, effort) for spec in specs] for each in PROTOCOL}
        claims = claims_of(specs[0]) or {}
    judged = {key: results for key, results in found.items() if any(each.status in _JUDGED for each in results)}
    left = {each.text for key, results in found.items() if key not in judged for each in results}
    return {
        "name": name,
        "package": SYSTEMS[name].package,
        "summary": entry.summary,
        "source": entry.source,
        "scope": f"{entry.facts['scope'][:1].upper()}{entry.facts['scope'][1:]}." if "scope" in entry.facts else _OURS,
        "claims": dict(claims),
        "rows": [
            {
                "invariant": each.name,
                "title": each.title,
                "claim": claims.get(each.name, ""),
                "found": _merged(specs, judged[each.name]),
            }
            for each in PROTOCOL
            if each.name in judged
        ],
        "left": "; ".join(sorted(left)),
    }


def _merged(specs: Sequence[Spec], results: Sequence[Result]) -> list[dict[str, Any]]:
    """Return each result once, with the parameters that it is about, of those in which the specs differ."""
    differing = [key for key, _ in specs[0].parameters if len({dict(spec.parameters)[key] for spec in specs}) > 1]
    merged: dict[tuple[str, str], dict[str, Any]] = {}
    for spec, result in zip(specs, results, strict=True):
        text = result.text.replace(f"{spec}, ", "").replace(f"{spec}: ", "")
        found = merged.setdefault((result.status, text), {"about": [], "cases": result.cases})
        found["about"].append(", ".join(f"{key}={dict(spec.parameters)[key]}" for key in differing))
    return [
        {"parameters": "; ".join(found["about"]) if len(merged) > 1 else "", "status": status, "text": text, **found}
        for (status, text), found in merged.items()
    ]


def counterexample_rows(directory: Path) -> Iterator[dict[str, str]]:
    """Yield what each script says, with a link to it from the directory. Raises: CloisterError where one broke."""
    for each in COUNTEREXAMPLES:
        said = run_together(each.package)[each.name]
        if said.word == "broke":
            raise CloisterError(f"{each.path.name} broke: {said.text}")
        yield _counterexample_row(each, said, directory)


def _counterexample_row(each: Counterexample, said: Verdict, directory: Path) -> dict[str, str]:
    return {
        "name": each.name,
        "link": os.path.relpath(each.path, directory.resolve()),
        "title": each.title,
        "claim": each.claim,
        "word": said.word,
        "text": said.text,
    }


def own_tests(ended: Iterable[Ended]) -> dict[str, Any]:
    """Return how many of CrypTen's own tests ended how, which failed, and which say nothing here and why."""
    all_ended = list(ended)
    counts = Counter(each.status for each in all_ended)
    return {
        "counts": {status: counts[status] for status in ("passed", "failed", "not applicable")},
        "failed": [each.test for each in all_ended if each.status == "failed"],
        "left": {each.test: each.text for each in all_ended if each.status == "not applicable"},
    }


def _own_tests_in(directory: Path | None) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        return own_tests(run_all(directory or fetched(Path(folder))))


def page(found: dict[str, Any]) -> str:
    """Return the HTML of what was found."""
    source = Path(__file__).with_name("report.html.j2").read_text("utf-8")
    return Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(source).render(found)


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the report; return 1 where something is violated that is not known to be, or a test of CrypTen's fails."""
    parser = argparse.ArgumentParser(prog="tests.systems.report", description="Report on the systems under test.")
    parser.add_argument("directory", type=Path)
    parser.add_argument("--effort", default="dev", help="how much to try: dev, ci or nightly")
    parser.add_argument(
        "--crypten-tests", type=Path, help="the folder `test` of CrypTen's sources; else pip fetches it"
    )
    given = parser.parse_args(arguments)
    versions = {package: installed(package) for package in sorted({system.package for system in SYSTEMS.values()})}
    for package, version in versions.items():
        if version is None:
            raise CloisterError(f"{package} is not installed; allowed: pip install 'cloister[systems]'")
    found = {
        "effort": given.effort,
        "versions": versions,
        "counterexamples": list(counterexample_rows(given.directory)),
        "own_tests": _own_tests_in(given.crypten_tests),
        "systems": [system_row(name, effort_named(given.effort)) for name in SYSTEMS],
    }
    given.directory.mkdir(parents=True, exist_ok=True)
    text = json.dumps(found, indent=1, ensure_ascii=False) + "\n"
    (given.directory / "systems.json").write_text(text, "utf-8")
    (given.directory / "systems.html").write_text(page(found), "utf-8")
    rows = [row for system in found["systems"] for row in system["rows"]]
    unknown = any(each["status"] == "violated" for row in rows for each in row["found"])
    return int(unknown or bool(found["own_tests"]["failed"]))


if __name__ == "__main__":
    sys.exit(main())
