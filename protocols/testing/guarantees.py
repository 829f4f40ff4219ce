"""The sentences under `Guarantees:` in docstrings, read from the source alone; tests/guarantees/ maps them to tests."""

import ast
import re
from collections.abc import Iterator

__all__ = ["guaranteed", "split_guarantees"]

_HEADING = "Guarantees:"
_INDENT = "    "
# A sentence ends at a full stop before a capital or a code word in one line; that ends a line, always.
_NEXT_SENTENCE = re.compile(r"(?<=[^.]\.) (?=[A-Z`])")


def split_guarantees(doc: str) -> tuple[list[str], tuple[str, ...], list[str]]:
    """Return the lines before the guarantees of a docstring (without its indentation), these, and the lines after.

    Without guarantees all lines are before them.
    """
    lines = doc.splitlines()
    if _HEADING not in lines:
        return lines, (), []
    start = lines.index(_HEADING)
    end = start + 1
    for i, line in enumerate(lines[end:], start=end):
        if line and not line.startswith(_INDENT):
            break
        end = i + 1 if line else end
    return lines[:start], _sentences([line.strip() for line in lines[start + 1 : end]]), lines[end:]


def guaranteed(source: str) -> dict[str, tuple[str, ...]]:
    """Return what a module's source guarantees: the sentences of each qualified name that has any."""
    found = {name: split_guarantees(doc)[1] for name, doc in _documented(ast.parse(source), "")}
    return {name: sentences for name, sentences in found.items() if sentences}


def _sentences(lines: list[str]) -> tuple[str, ...]:
    found: list[str] = []
    ended = True
    for line in lines:
        for part in _NEXT_SENTENCE.split(line):
            if ended:
                found.append(part)
            elif part:
                found[-1] += f" {part}"
            ended = part.endswith(".")
    return tuple(sentence for sentence in found if sentence)


def _documented(node: ast.Module | ast.ClassDef | ast.FunctionDef, within: str) -> Iterator[tuple[str, str]]:
    for each in node.body:
        if isinstance(each, ast.ClassDef | ast.FunctionDef):
            yield within + each.name, ast.get_docstring(each) or ""
            yield from _documented(each, f"{within}{each.name}.")
