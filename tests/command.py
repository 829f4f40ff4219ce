"""The command `bench` in this process, for tests that read what it prints."""

import sys

import pytest

from bench import cli

__all__ = ["run_bench"]


def run_bench(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *words: str) -> tuple[int, str, str]:
    """Run `bench` with these words; return its exit code, output and errors."""
    monkeypatch.setattr(sys, "argv", ["bench", *words])
    code = 0
    try:
        cli.main()
    except SystemExit as ended:
        code = int(ended.code or 0)
    said = capsys.readouterr()
    return code, said.out, said.err
