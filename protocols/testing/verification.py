"""The verification report: one page and one JSON file of what a run of the suite found."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment

from protocols.testing.invariants import INVARIANTS, PROTOCOL, Evidence, Invariant, Violation

__all__ = ["Row", "house_rows", "stock_rows", "write_report"]

_WORST_FIRST = ("violated", "violated as documented", "pending", "holds", "not applicable")
_SIGNS: Mapping[str, str] = {
    "holds": "✓",
    "violated as documented": "!",
    "violated": "✗",
    "not applicable": "–",
    "pending": "…",
}
_PROMISES = "tests/systems/test_stock_crypten.py"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of a list: a number, a title, how it stands, and why."""

    number: str
    title: str
    status: str
    text: str
    more: str = ""


def write_report(
    directory: Path,
    results: Sequence[Mapping[str, Any]],
    *,
    outcomes: Mapping[str, str] | None = None,
    defects: bool = False,
) -> None:
    """Write verification.json and verification.html into the directory, which is made.

    `results` are suite.Result as dictionaries; `outcomes` say how each test of the session ended, by its name, from
    which the invariants of other parts are answered; with `defects`, stock CrypTen is set against our engine.
    """
    directory.mkdir(parents=True, exist_ok=True)
    house = house_rows(outcomes or {})
    stock = stock_rows() if defects else []
    found: dict[str, Any] = {
        "invariants": [{"name": each.name, "title": each.title, "applies_to": each.applies_to} for each in INVARIANTS],
        "results": list(results),
        "other_parts": [asdict(row) for row in house],
        "stock_crypten": [asdict(row) for row in stock],
    }
    (directory / "verification.json").write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", "utf-8")
    (directory / "verification.html").write_text(_page(results, house, stock), "utf-8")


def house_rows(outcomes: Mapping[str, str]) -> list[Row]:
    """Return how the invariants of other parts than protocols stand: by the tests of this session that hold them."""
    return [_house_row(each, outcomes) for each in INVARIANTS if each.check is None or each.tests]


def _house_row(invariant: Invariant, outcomes: Mapping[str, str]) -> Row:
    ended = [
        outcome
        for name, outcome in outcomes.items()
        if any(name == test or name.startswith((f"{test}[", f"{test}::")) for test in invariant.tests)
    ]
    waits = f"waits for issue {invariant.pending}" if invariant.pending else ""
    note = "; ".join(filter(None, (waits, invariant.note)))
    if not invariant.tests:
        status = "pending"
    elif "failed" in ended:
        status = "violated"
    else:
        status = "holds" if "passed" in ended else "not run"  # a test that is skipped shows nothing
    text = _counted(ended) if ended else note or "its tests are not in this run"
    if status == "holds" and invariant.evidence is not None:
        status, text = _shown(invariant.evidence, text)
    return Row(
        number=invariant.name,
        title=invariant.title,
        status=status,
        text=text,
        more="; ".join(filter(None, (*invariant.tests, note if ended else ""))),
    )


def _counted(ended: Sequence[str]) -> str:
    skipped = ended.count("skipped")
    return f"{len(ended) - skipped} tests" + (f", {skipped} skipped" if skipped else "")


def _shown(evidence: Callable[[], Evidence], tests: str) -> tuple[str, str]:
    """Return how an invariant stands when it is shown once more, and what showed it."""
    try:
        found = evidence()
    except Violation as error:
        return "violated", str(error)
    return "holds", f"{found.how}, {found.cases} cases: {found.text}; {tests}"


def stock_rows() -> list[Row]:
    """Run the counterexamples on stock CrypTen, and the checks of what our engine promises instead."""
    # CrypTen's import takes seconds.
    from protocols.testing.stock_crypten import DEFECTS

    rows: list[Row] = []
    for defect in DEFECTS:
        try:
            shown, held, status = defect.counterexample(), defect.held(), "holds"
        except (AssertionError, RuntimeError) as error:
            shown, held, status = None, f"{type(error).__name__}: {error}", "violated"
        rows.append(
            Row(
                number=str(defect.number),
                title=defect.title,
                status=status,
                text=shown or "does not show in this version of CrypTen",
                more=f"{defect.promise} {held}",
            )
        )
    return rows


def _page(results: Sequence[Mapping[str, Any]], house: Sequence[Row], stock: Sequence[Row]) -> str:
    source = files("protocols.testing").joinpath("verification.html.j2").read_text("utf-8")
    template = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(source)
    names = list(dict.fromkeys(_name(result) for result in results))
    columns = [each for each in PROTOCOL if any(result["invariant"] == each.name for result in results)]
    counts = {status: sum(result["status"] == status for result in results) for status in _WORST_FIRST}
    return template.render(
        signs=_SIGNS,
        counts=counts,
        specs=len({result["protocol"] for result in results}),
        names=names,
        matrix=[(each, [_worst(results, name, each) for name in names]) for each in columns],
        details=[(name, _details(results, name, columns)) for name in names],
        broken=[result for result in results if result["status"] == "violated"],
        house=house,
        stock=stock,
    )


def _name(result: Mapping[str, Any]) -> str:
    return str(result["protocol"]).partition("(")[0]


def _worst(results: Iterable[Mapping[str, Any]], name: str, invariant: Invariant) -> Mapping[str, Any] | None:
    """Return the result that counts for a protocol: of its specs', the worst."""
    found = [each for each in results if _name(each) == name and each["invariant"] == invariant.name]
    return min(found, key=lambda each: (_WORST_FIRST.index(each["status"]), -each["cases"]), default=None)


def _details(
    results: Sequence[Mapping[str, Any]], name: str, columns: Sequence[Invariant]
) -> list[tuple[Invariant, list[tuple[str, Mapping[str, Any]]]]]:
    """Return, for each invariant, the results of the protocol's specs by the parameters that make them."""
    mine = [each for each in results if _name(each) == name]
    return [
        (invariant, [(_parameters(each), each) for each in mine if each["invariant"] == invariant.name])
        for invariant in columns
    ]


def _parameters(result: Mapping[str, Any]) -> str:
    return str(result["protocol"]).partition("(")[2].removesuffix(")")
