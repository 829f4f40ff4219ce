"""What the counterexample scripts say about the packages that are installed here."""

import ast
import importlib.metadata
import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

__all__ = ["COUNTEREXAMPLES", "FOLDER", "Counterexample", "Verdict", "installed", "run_alone", "run_together"]

FOLDER = Path(__file__).parent / "counterexamples"
_DEADLINE_S = 300.0
_WORDS = ("violated", "as documented", "holds")
_EXPECTED = {
    "crypten_provider_first_party": "as documented",
    "crypten_provider_third_party": "holds",
    "crypten_truncation": "as documented",
}
"""What scripts are to say that show no violation."""


@dataclass(frozen=True, kw_only=True)
class Counterexample:
    """One script: the package that it runs, what it shows, what is claimed, and the word that it is to say."""

    path: Path
    package: str
    title: str
    claim: str
    expected: str

    @property
    def name(self) -> str:
        """The script's name."""
        return self.path.stem


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a script said: its first words, and the rest; `broke` where it said none of them."""

    word: str
    text: str


def _read(path: Path) -> Counterexample:
    title, _, rest = (ast.get_docstring(ast.parse(path.read_text("utf-8"))) or "").partition("\n\n")
    return Counterexample(
        path=path,
        package=path.stem.partition("_")[0],
        title=title,
        claim=" ".join(rest.removeprefix("Claim: ").split()),
        expected=_EXPECTED.get(path.stem, "violated"),
    )


COUNTEREXAMPLES: tuple[Counterexample, ...] = tuple(
    _read(path) for path in sorted(FOLDER.glob("*.py")) if path.stem != "__init__"
)
"""All scripts, by name."""


def installed(package: str) -> str | None:
    """Return the installed version of a package, or None where it cannot be found."""
    return importlib.metadata.version(package) if importlib.util.find_spec(package) else None


def run_alone(each: Counterexample) -> Verdict:
    """Run a script as a reader would: in an interpreter of its own."""
    return _verdict(_output([sys.executable, "-W", "ignore", str(each.path)]))


@cache
def run_together(package: str) -> dict[str, Verdict]:
    """Return the verdict of each script of a package, in forks of one interpreter that has imported it once."""
    scripts = [str(each.path) for each in COUNTEREXAMPLES if each.package == package]
    runner = str(Path(__file__).with_name("_forked.py"))
    said = json.loads(_output([sys.executable, "-W", "ignore", runner, package, *scripts]).splitlines()[-1])
    return {Path(script).stem: _verdict(text) for script, text in said.items()}


def _verdict(output: str) -> Verdict:
    for line in reversed(output.splitlines()):
        word = next((word for word in _WORDS if line.startswith(word)), None)
        if word is not None:
            return Verdict(word=word, text=line.removeprefix(word).removeprefix(": "))
    return Verdict(word="broke", text=output)


def _output(command: Sequence[str]) -> str:
    """Return what a command prints. Raises: TimeoutExpired, after which it and all that it started are gone."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(command, stdout=out, stderr=errors, start_new_session=True)
        try:
            status = process.wait(_DEADLINE_S)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise
        for stream in (out, errors):
            stream.seek(0)
        said = out.read().decode()
        return said if status == 0 else f"{said}\nended with status {status}: {errors.read().decode()}"
