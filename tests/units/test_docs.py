"""What the documents say is there is there."""

import ast
import re
import shlex
import tomllib
from pathlib import Path

import pytest

from bench.catalogue import KINDS, describe
from bench.cli import app
from bench.experiment import load_experiment, parse_experiment, parse_setting, preset_names
from bench.grid import expand
from tests.command import run_bench

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md", "reports/README.md"])
def test_every_linked_file_exists(document: str) -> None:
    path = ROOT / document
    for target in re.findall(r"\]\(([^)#]+)\)", path.read_text(encoding="utf-8")):
        assert target.startswith("http") or (path.parent / target).exists(), f"{document} links to {target}"


def test_the_experiment_in_the_readme_runs_as_it_stands() -> None:
    (text,) = re.findall(r"```toml\n(.*?)```", README, flags=re.DOTALL)
    assert len(expand(parse_experiment(text, name="readme"))) > 1


def test_every_command_in_the_readme_exists_with_its_options() -> None:
    block = next(text for text in re.findall(r"```sh\n(.*?)```", README, flags=re.DOTALL) if "bench run " in text)
    names = {command.name or command.callback.__name__ for command in app.registered_commands}
    names |= {group.name for group in app.registered_groups}
    lines = [shlex.split(line, comments=True) for line in block.splitlines()]
    assert len(lines) > 5
    for words in lines:
        assert words[0] == "bench"
        assert words[1] in names
        settings = [words[i + 1] for i, word in enumerate(words) if word == "--set"]
        for setting in settings:
            parse_setting(setting)
        if words[1] == "run" and len(words) > 2 and words[2] in preset_names():
            load_experiment(words[2])


def test_what_the_readme_shows_of_a_command_is_what_it_prints(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = re.findall(r"```\n\$ bench (.*?)```", README, flags=re.DOTALL)
    assert shown
    for command, *lines in map(str.splitlines, shown):
        assert run_bench(capsys, monkeypatch, *shlex.split(command)) == (0, "\n".join([*lines, ""]), "")


def test_the_code_of_an_attack_in_the_readme_is_at_most_ten_lines() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    assert len([line for line in code.splitlines() if line.strip()]) <= 10


def undocumented(body: list[ast.stmt], within: str = "") -> list[str]:
    """The public functions and classes of a module, and their public methods, that do not say what they are."""
    defined = [each for each in body if isinstance(each, ast.FunctionDef | ast.ClassDef)]
    found = []
    for each in (each for each in defined if not each.name.startswith("_")):
        overloaded = any(ast.unparse(decorator) == "overload" for decorator in each.decorator_list)
        if not overloaded and ast.get_docstring(each) is None:
            found.append(within + each.name)
        if isinstance(each, ast.ClassDef):
            found += undocumented(each.body, f"{each.name}.")
    return found


@pytest.mark.parametrize("layer", ["protocols", "attacks", "bench"])
def test_every_public_function_says_what_it_does(layer: str) -> None:
    paths = sorted((ROOT / layer).rglob("*.py"))
    assert len(paths) > 30
    silent = {path.name: undocumented(ast.parse(path.read_text("utf-8")).body) for path in paths}
    assert not {name: names for name, names in silent.items() if names}


def test_a_public_method_that_says_nothing_is_seen() -> None:
    source = 'class A:\n    """Is."""\n    def f(self): ...\n    def _g(self): ...\ndef h(): ...\n'
    assert undocumented(ast.parse(source).body) == ["A.f", "h"]


def test_every_plug_in_is_in_the_changelog() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    for kind in KINDS:
        for item in describe(kind):
            assert f"`{item['name']}`" in changelog, f"{item['name']} of {kind} is not in CHANGELOG.md"


def test_the_ci_runs_the_readmes_test_command() -> None:
    assert re.search(r"^make test\b", README, flags=re.MULTILINE)
    assert "README.md" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_the_versions_agree() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assert f"version: {version}" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
