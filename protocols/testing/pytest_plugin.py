"""The pytest plugin: `--protocol` verifies any registered protocol, `--verification-report` writes what was found.

It is loaded in every run of pytest where cloister is installed: nothing of it is imported or changed unless one of
its options is given.
"""

import json
import tempfile
from collections.abc import Generator, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

__all__: list[str] = []

_ENTRY_POINT = "cloister"
_PROPERTY = "cloister_verification"
_COLLECTOR = "cloister_report"


@pytest.hookimpl
def pytest_plugin_registered(plugin: object, plugin_name: str, manager: pytest.PytestPluginManager) -> None:
    """Keep pytest from loading this module again under its other name: entry point and `-p` may both be used."""
    if getattr(plugin, "__name__", None) == __name__:
        for other in {_ENTRY_POINT, __name__} - {plugin_name}:
            manager.set_blocked(other)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("cloister", "verification of secure sums")
    group.addoption(
        "--protocol",
        action="append",
        default=[],
        metavar="MODULE:CLASS",
        help="verify this registered protocol (a name will do): all invariants, on its defaults and its examples; "
        "without paths on the command line nothing else is collected",
    )
    group.addoption(
        "--verification-report",
        metavar="DIR",
        help="write DIR/verification.html and DIR/verification.json: what this run says about every protocol",
    )
    group.addoption(
        "--verification-effort",
        choices=("dev", "ci", "nightly"),
        help="how much to try (default: CLOISTER_EFFORT, else HYPOTHESIS_PROFILE, else ci)",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Collect results where a report is wanted: in the process that hears of all tests."""
    directory = config.getoption("--verification-report")
    if directory and not hasattr(config, "workerinput"):
        _check_folder(Path(directory))  # before all tests, not after
        config.pluginmanager.register(_Collected(Path(directory)), _COLLECTOR)


def _check_folder(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            pass
    except OSError as error:
        raise pytest.UsageError(
            f"--verification-report {directory}: {error.strerror}; allowed: a folder that can be written"
        ) from None


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:  # noqa: ARG001
    """With --protocol and no paths on the command line, collect nothing else."""
    alone = config.getoption("--protocol") and config.args_source is not pytest.Config.ArgsSource.ARGS
    return True if alone else None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(session: pytest.Session, config: pytest.Config, items: list[pytest.Item]) -> None:
    """Add an item for each invariant of each protocol that is asked for."""
    for text in config.getoption("--protocol") or ():
        items.extend(_items(session, config, text))


def _items(session: pytest.Session, config: pytest.Config, text: str) -> Iterator[pytest.Item]:
    # Everything heavy is imported only where a protocol is asked for.
    import sys

    here = str(config.invocation_params.dir)
    if here not in sys.path:
        sys.path.insert(0, here)
    from protocols.check import CloisterError
    from protocols.testing import suite

    name = config.getoption("--verification-effort")
    try:
        checks = suite.conformance_checks(text, suite.effort_named(name) if name else None)
    except CloisterError as error:
        raise pytest.UsageError(f"--protocol: {error}") from None
    collectors: dict[Any, _Protocol] = {}
    for check in checks:
        if check.spec not in collectors:
            collectors[check.spec] = _Protocol.from_parent(session, name=str(check.spec), nodeid=str(check.spec))
        yield _InvariantItem.from_parent(collectors[check.spec], name=check.invariant.name, check=check)


class _Protocol(pytest.Collector):
    """One spec, whose items are made by `_items`."""

    def collect(self) -> list[pytest.Item]:
        """See pytest.Collector."""
        return []


class _InvariantItem(pytest.Item):
    """One invariant of one spec."""

    def __init__(self, *, check: Any, **given: Any) -> None:
        super().__init__(**given)
        self._check = check

    def runtest(self) -> None:
        """Check the invariant; skip where it does not apply."""
        result = self._check()
        if result.status == "not applicable":
            pytest.skip(result.text)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """Show a violation as its text and its replay line, anything else with its traceback."""
        if isinstance(excinfo.value, AssertionError) and hasattr(excinfo.value, "replay"):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, None, str]:
        """Name the item in reports."""
        return self.path, None, f"{self._check.invariant.name} {self._check.invariant.title}: {self._check.spec}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    """Attach the results that a test finds to its report, which xdist sends to the controller."""
    with _recording(item.config) as found:
        try:
            return (yield)
        finally:
            item.user_properties += [(_PROPERTY, result.as_json()) for result in found]


def _recording(config: pytest.Config) -> Any:
    if not config.getoption("--verification-report"):
        return nullcontext([])
    import sys

    # A test that finds results has imported the suite; another one finds none.
    suite = sys.modules.get("protocols.testing.suite")
    return nullcontext([]) if suite is None else suite.recording()


class _Collected:
    """What the tests of a session found, for the report."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._results: list[dict[str, Any]] = []
        self._outcomes: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep the results, and how each test ended."""
        if report.when == "call" or report.outcome != "passed":  # setup may skip or fail, teardown fail
            self._outcomes[report.nodeid] = report.outcome
        if report.when == "call":
            self._results += [json.loads(str(text)) for name, text in report.user_properties if name == _PROPERTY]

    def pytest_sessionfinish(self) -> None:
        """Write the report; what CrypTen itself gets wrong is shown beside the protocol that runs it as it comes."""
        from protocols.testing.verification import write_report

        stock = any(result["protocol"].startswith("additive_stock") for result in self._results)
        write_report(self._directory, self._results, outcomes=self._outcomes, defects=stock)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say where it is."""
        terminalreporter.write_line(f"verification report: {self._directory / 'verification.html'}")
