"""Every sentence under `Guarantees:` names the tests that fail where it is false, in tests/guarantees/."""

import ast
import json
import tomllib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from types import MappingProxyType

import pytest

from protocols.testing.guarantees import guaranteed, split_guarantees

ROOT = Path(__file__).parents[2]
MAPS = ROOT / "tests" / "guarantees"
# For each object, which is written module:name, its sentences, and for each of these the tests that hold it.
Map = Mapping[str, Mapping[str, Sequence[str]]]


@cache
def sentences_of_packages() -> dict[str, dict[str, tuple[str, ...]]]:
    """What each package guarantees: the sentences of each of its objects."""
    found: dict[str, dict[str, tuple[str, ...]]] = defaultdict(dict)
    for path in sorted(path for layer in ("protocols", "attacks", "bench") for path in (ROOT / layer).rglob("*.py")):
        source = path.read_text(encoding="utf-8")
        if "Guarantees:" in source:
            module = path.relative_to(ROOT).with_suffix("")
            dotted = ".".join(module.parts).removesuffix(".__init__")
            package = module.parent.as_posix()
            found[package] |= {f"{dotted}:{name}": sentences for name, sentences in guaranteed(source).items()}
    return {package: objects for package, objects in found.items() if objects}


def map_of(package: str) -> Path:
    return MAPS / f"{package.replace('/', '_')}.toml"


@cache
def named_in(path: Path) -> frozenset[str]:
    """The tests of a file, those in classes as Class::name; none where there is no file."""
    if not path.is_file():
        return frozenset()

    def named(body: list[ast.stmt], within: str) -> Iterator[str]:
        for each in body:
            if isinstance(each, ast.ClassDef) and each.name.startswith("Test"):
                yield from named(each.body, f"{within}{each.name}::")
            elif isinstance(each, ast.FunctionDef) and each.name.startswith("test_"):
                yield within + each.name

    return frozenset(named(ast.parse(path.read_text(encoding="utf-8")).body, ""))


def is_there(test: str) -> bool:
    path, _, name = test.partition("::")
    return name in named_in(ROOT / path)


def complaints(file: str, said: Mapping[str, Sequence[str]], mapped: Map) -> list[str]:
    """One line for each sentence without a test, each entry that is stale, and each test that is not there."""
    found: list[str] = []
    for name, sentences in said.items():
        for sentence in sentences:
            if not mapped.get(name, {}).get(sentence):
                line = f'{json.dumps(sentence, ensure_ascii=False)} = ["tests/FILE.py::test_NAME"]'
                found.append(f'{file}: a sentence has no test; add under ["{name}"] the line {line}')
    for name, entries in mapped.items():
        for sentence, tests in entries.items():
            if sentence not in said.get(name, ()):
                found.append(f'{file}: the code does not say this; take out of ["{name}"] the entry {sentence!r}')
            for test in tests:
                if not is_there(test):
                    found.append(f'{file}: there is no test {test}; name another one in ["{name}"] for {sentence!r}')
    return found


def test_every_sentence_has_a_test_and_every_entry_a_sentence() -> None:
    """Of several hundred sentences: an extraction that finds none would have nothing to complain of."""
    packages, found = sentences_of_packages(), list[str]()
    assert sum(len(sentences) for each in packages.values() for sentences in each.values()) > 500
    for package, said in packages.items():
        path = map_of(package)
        mapped = tomllib.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        found += complaints(path.relative_to(ROOT).as_posix(), said, mapped)
    assert not found, "\n".join(found)
    assert {path.name for path in MAPS.glob("*")} == {map_of(package).name for package in packages}


class TestComplaints:
    NAME = "protocols.example:Sum"
    HELD = ("tests/units/test_guarantees.py::TestComplaints::test_none_of_a_whole_map",)
    WHOLE = MappingProxyType({"It is exact.": HELD, "Nothing is lost.": HELD})

    def of(self, mapped: Map) -> list[str]:
        return complaints("tests/guarantees/protocols.toml", {self.NAME: tuple(self.WHOLE)}, mapped)

    def test_none_of_a_whole_map(self) -> None:
        assert self.of({self.NAME: self.WHOLE}) == []

    @pytest.mark.parametrize("tests", [{}, {"Nothing is lost.": ()}])
    def test_a_sentence_without_a_test_comes_with_the_line_to_add(self, tests: dict[str, tuple[str, ...]]) -> None:
        assert self.of({self.NAME: {"It is exact.": self.HELD} | tests}) == [
            'tests/guarantees/protocols.toml: a sentence has no test; add under ["protocols.example:Sum"] the line '
            '"Nothing is lost." = ["tests/FILE.py::test_NAME"]'
        ]

    @pytest.mark.parametrize("name", ["protocols.example:Sum", "protocols.example:Gone"])
    def test_an_entry_that_the_code_does_not_say_is_to_be_taken_out(self, name: str) -> None:
        stale = {**(self.WHOLE if name == self.NAME else {}), "It is fast.": self.HELD}
        assert self.of({self.NAME: self.WHOLE, name: stale}) == [
            "tests/guarantees/protocols.toml: the code does not say this; "
            f"take out of [\"{name}\"] the entry 'It is fast.'"
        ]

    @pytest.mark.parametrize(
        "test",
        [
            "tests/units/test_nowhere.py::test_it",
            "tests/units/test_guarantees.py",
            "tests/units/test_guarantees.py::test_none_of_a_whole_map",
            "tests/units/test_guarantees.py::TestComplaints::of",
        ],
    )
    def test_a_test_that_is_not_there_is_named(self, test: str) -> None:
        assert self.of({self.NAME: {**self.WHOLE, "It is exact.": (*self.HELD, test)}}) == [
            f"tests/guarantees/protocols.toml: there is no test {test}; "
            "name another one in [\"protocols.example:Sum\"] for 'It is exact.'"
        ]


class TestSentences:
    DOC = """A sum.

    Guarantees:
        It is exact, up to 2 .. 4 units,
        and e.g. fast. `names` are kept. Others too.
        b members move it.

    Source: nobody."""

    def test_end_at_a_full_stop_before_a_capital_or_at_the_end_of_a_line(self) -> None:
        source = f'class Sum:\n    """{self.DOC}\n    """\n'
        said = ("It is exact, up to 2 .. 4 units, and e.g. fast.", "`names` are kept.", "Others too.")
        assert guaranteed(source) == {"Sum": (*said, "b members move it.")}

    def test_of_methods_have_the_name_of_their_class(self) -> None:
        method = (
            '    def add(self) -> None:\n        """Add.\n\n        Guarantees:\n            It ends.\n        """\n'
        )
        assert guaranteed(f"class Sum:\n{method}") == {"Sum.add": ("It ends.",)}

    def test_stop_where_the_indentation_does(self) -> None:
        before, sentences, after = split_guarantees("A sum.\n\nGuarantees:\n    It ends.\n\nSource: nobody.")
        assert (before, sentences, after) == (["A sum.", ""], ("It ends.",), ["", "Source: nobody."])
        assert split_guarantees("A sum.") == (["A sum."], (), [])
