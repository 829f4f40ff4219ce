"""Plug-ins by name: found by file, resolved with checks, refused with the reason."""

import dataclasses
import importlib
import importlib.metadata
import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.aggregators import aggregators
from protocols.check import CloisterError
from protocols.clustering import clusterings
from protocols.privacy import mechanisms
from protocols.registry import Registry, Spec
from protocols.secure_sum import secure_sums

PLUGIN = '''
from dataclasses import dataclass
from {package} import things


@things.register(source="a test"{more})
@dataclass(frozen=True, kw_only=True)
class Thing:
    """{summary}

    More about it.
    """

    strength: float = 1.0
    count: int = 3
    mode: str = "fast"

    def __post_init__(self) -> None:
        if self.strength < 0:
            raise ValueError(f"strength = {{self.strength}} is not allowed; allowed: >= 0")
'''


@dataclasses.dataclass(frozen=True)
class Shop:
    """A package of plug-ins in a directory of its own, with the registry `things` in it."""

    package: str
    root: Path

    @property
    def things(self) -> Registry[Any]:
        return importlib.import_module(self.package).things

    def write(self, name: str, text: str | None = None, *, more: str = "", summary: str = "A thing.") -> None:
        text = PLUGIN.format(package=self.package, more=more, summary=summary) if text is None else text
        (self.root / self.package / f"{name}.py").write_text(text)
        importlib.invalidate_caches()

    def publish(self, *points: str, dist: str = "third") -> None:
        """Install a distribution that declares the entry points "name = module"."""
        info = self.root / f"{dist}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {dist}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[{self.package}.plugins]\n" + "\n".join(points))
        importlib.invalidate_caches()

    def write_third_party(self, module: str, *, more: str = "", text: str | None = None) -> None:
        text = PLUGIN.format(package=self.package, more=more, summary="A third party's.") if text is None else text
        (self.root / f"{module}.py").write_text(text)
        importlib.invalidate_caches()


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    # A file that is mended within the same second would otherwise be hidden by its stale byte code.
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    package = "shop_of_things"
    (tmp_path / package).mkdir()
    (tmp_path / package / "__init__.py").write_text(
        f"from protocols.registry import Registry\nthings = Registry('thing', ('{package}',), '{package}.plugins')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    yield Shop(package, tmp_path)
    for name in set(sys.modules) - before:
        if getattr(sys.modules[name], "__file__", None) and str(tmp_path) in str(sys.modules[name].__file__):
            del sys.modules[name]


def said(call: Callable[[], object]) -> str:
    with pytest.raises(CloisterError) as caught:
        call()
    return str(caught.value)


class TestFinding:
    def test_a_built_in_file_of_the_plug_in_package_is_found_without_being_listed_anywhere(self, shop: Shop) -> None:
        shop.write("second")
        shop.write("first")
        assert list(shop.things.entries()) == ["first", "second"]

    @pytest.mark.parametrize("registry", [aggregators, clusterings, mechanisms, secure_sums], ids=lambda r: r.kind)
    def test_every_built_in_file_with_a_plug_in_is_one_of_its_name(self, registry: Registry[Any]) -> None:
        (package,) = (importlib.import_module(name) for name in registry._packages)
        folder = Path(str(package.__file__)).parent
        texts = {path.stem: path.read_text() for path in folder.glob("*.py") if path.stem != "__init__"}
        written = {stem for stem, text in texts.items() if ".register(" in text}
        assert {name for name, entry in registry.entries().items() if entry.file.parent == folder} == written
        assert all(registry.entry(name).file.stem == name for name in written)

    def test_a_file_that_registers_nothing_and_one_with_an_underscore_are_no_plug_ins(self, shop: Shop) -> None:
        shop.write("ledger", "x = 1\n")
        shop.write("_draft", "raise RuntimeError('is never imported')\n")
        shop.write("real")
        assert list(shop.things.entries()) == ["real"]

    def test_a_plug_in_that_is_not_loaded_is_seen_to_be_missing(self, shop: Shop) -> None:
        """The negative twin of finding by file: without the walk over the package nothing is found."""
        shop.write("first")
        with mock.patch.object(Registry, "_load_package"):
            assert shop.things.entries() == {}

    def test_an_entry_tells_what_the_file_says(self, shop: Shop) -> None:
        shop.write("first", more=", examples=({'count': 4},), facts={'kind': 'x'}", summary="The first line.")
        entry = shop.things.entry("first")
        assert entry.summary == "The first line."
        assert entry.source == "a test"
        assert entry.facts["kind"] == "x"
        assert entry.defaults == {"strength": 1.0, "count": 3, "mode": "fast"}
        assert entry.examples == ({"count": 4},)
        assert entry.file == shop.root / shop.package / "first.py"
        with pytest.raises(TypeError):
            entry.facts["kind"] = "y"

    def test_a_plug_in_may_have_another_name_than_its_file(self, shop: Shop) -> None:
        shop.write("first", more=", name='other'")
        assert list(shop.things.entries()) == ["other"]


class TestResolving:
    def test_a_name_alone_becomes_a_spec_with_every_default_in_alphabetical_order(self, shop: Shop) -> None:
        shop.write("first")
        spec = shop.things.resolve("first")
        assert spec == Spec(name="first", parameters=(("count", 3), ("mode", "fast"), ("strength", 1.0)))
        assert str(spec) == "first(count=3, mode=fast, strength=1.0)"
        assert shop.things.resolve(spec.as_config()) == spec

    def test_what_a_spec_describes_is_made(self, shop: Shop) -> None:
        shop.write("first")
        made = shop.things.make(shop.things.resolve({"name": "first", "count": 7, "strength": 0.5}))
        assert (made.count, made.strength, made.mode) == (7, 0.5, "fast")

    def test_an_unknown_name_is_refused_with_the_closest_allowed_one(self, shop: Shop) -> None:
        shop.write("first")
        shop.write("second")
        message = said(lambda: shop.things.resolve("secnod"))
        assert message.startswith("thing = 'secnod' is unknown (did you mean 'second'?); allowed: first, second")

    def test_an_unknown_parameter_is_refused_with_the_closest_allowed_one(self, shop: Shop) -> None:
        shop.write("first")
        message = said(lambda: shop.things.resolve({"name": "first", "strenght": 2.0}))
        assert "thing 'first' has no parameter 'strenght' (did you mean 'strength'?)" in message
        assert message.endswith("its parameters: strength, count, mode")

    def test_a_parameter_that_is_dropped_silently_is_seen(self, shop: Shop) -> None:
        shop.write("first")

        def planted(self: Registry[Any], entry: object, given: dict[str, Any]) -> None:
            for key in set(given) - set(entry.defaults):
                del given[key]

        with (
            mock.patch.object(Registry, "_check_parameter_names", planted),
            pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"),
        ):
            said(lambda: shop.things.resolve({"name": "first", "strenght": 2.0}))

    @pytest.mark.parametrize(
        ("parameter", "value"),
        [
            ("strength", True),
            ("strength", "2.0"),
            ("strength", None),
            ("count", "3"),
            ("count", 3.0),
            ("count", False),
            ("mode", 3),
            ("mode", ["fast"]),
        ],
    )
    def test_a_value_of_the_wrong_type_is_refused_by_name(self, shop: Shop, parameter: str, value: object) -> None:
        shop.write("first")
        message = said(lambda: shop.things.resolve({"name": "first", parameter: value}))
        assert message.startswith(f"thing 'first': {parameter} = {value!r} is not allowed; Input should be a valid ")

    def test_a_number_given_for_a_word_is_told_how_to_write_it(self, shop: Shop) -> None:
        shop.write("first")
        assert said(lambda: shop.things.resolve({"name": "first", "mode": 3})).endswith('; write mode = "3"')
        assert "write" not in said(lambda: shop.things.resolve({"name": "first", "count": "3"}))

    def test_an_integer_given_for_a_number_is_that_number(self, shop: Shop) -> None:
        shop.write("first")
        given_as = [shop.things.resolve({"name": "first", "strength": value}) for value in (2, 2.0)]
        assert given_as[0] == given_as[1]
        assert given_as[0].canonical() == given_as[1].canonical()
        assert type(dict(given_as[0].parameters)["strength"]) is float

    def test_a_value_out_of_the_range_of_the_plug_in_is_refused_by_both_names(self, shop: Shop) -> None:
        shop.write("first")
        message = said(lambda: shop.things.resolve({"name": "first", "strength": -1.0}))
        assert message == "thing 'first': strength = -1.0 is not allowed; allowed: >= 0"

    @pytest.mark.parametrize("config", [{}, {"strength": 1.0}, {"name": 3}, {"name": None}])
    def test_a_table_without_a_name_is_refused(self, shop: Shop, config: dict[str, Any]) -> None:
        shop.write("first")
        assert "has no name; allowed: a name, or {name = ..., ...}" in said(lambda: shop.things.resolve(config))


class TestSpec:
    @given(
        parameters=st.dictionaries(
            st.sampled_from(["a", "b", "c"]), st.one_of(st.integers(), st.floats(allow_nan=False), st.text())
        ),
        changed=st.sampled_from(["a", "b", "c"]),
        value=st.one_of(st.integers(), st.floats(allow_nan=False), st.text()),
    )
    def test_specs_that_differ_in_any_parameter_have_different_canonical_texts(
        self, parameters: dict[str, Any], changed: str, value: object
    ) -> None:
        one = Spec(name="thing", parameters=tuple(sorted(parameters.items())))
        other = Spec(name="thing", parameters=tuple(sorted({**parameters, changed: value}.items())))
        if one != other:
            assert one.canonical() != other.canonical()
        assert json.loads(one.canonical()) == one.as_config()

    def test_a_canonical_text_without_a_parameter_is_seen(self) -> None:
        one, other = (Spec(name="thing", parameters=(("a", value),)) for value in (1, 2))
        with mock.patch.object(Spec, "as_config", lambda self: {"name": self.name}), pytest.raises(AssertionError):
            assert one.canonical() != other.canonical()

    def test_the_order_in_which_parameters_are_given_does_not_matter(self, shop: Shop) -> None:
        shop.write("first")
        one = shop.things.resolve({"name": "first", "count": 1, "strength": 2.0})
        other = shop.things.resolve({"strength": 2.0, "count": 1, "name": "first"})
        assert one == other
        assert one.canonical() == other.canonical()


class TestRefusing:
    def test_two_plug_ins_of_one_name_are_refused(self, shop: Shop) -> None:
        shop.write("first")
        shop.write("second", more=", name='first'")
        message = said(shop.things.entries)
        assert "'shop_of_things.second' cannot be imported: thing 'first' is registered twice: " in message
        assert "first.py" in message
        assert "second.py" in message

    def test_a_third_party_cannot_take_the_name_of_a_built_in(self, shop: Shop) -> None:
        shop.write("first")
        shop.write_third_party("rival", more=", name='first'")
        shop.publish("first = rival")
        message = said(shop.things.entries)
        assert "thing 'first' is registered twice" in message
        assert "rival.py" in message

    def test_a_second_plug_in_that_silently_replaces_the_first_is_seen(self, shop: Shop) -> None:
        shop.write("first")
        shop.write("second", more=", name='first'")

        def planted(self: Registry[Any], entry: Any) -> None:
            self._entries[entry.name] = entry

        with (
            mock.patch.object(Registry, "_add", planted),
            pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"),
        ):
            said(shop.things.entries)

    def test_a_class_that_is_no_dataclass_is_refused_by_name(self, shop: Shop) -> None:
        shop.write(
            "first", f"from {shop.package} import things\n@things.register(source='s')\nclass Thing:\n    pass\n"
        )
        assert said(shop.things.entries) == (
            "the thing plug-in 'shop_of_things.first' cannot be imported: "
            "thing 'first' is not a dataclass; allowed: a frozen dataclass; mend or remove it"
        )

    def test_a_class_that_can_be_changed_is_refused_by_name(self, shop: Shop) -> None:
        source = "@things.register(source='s')\n@dataclass\nclass Thing:\n    x: int = 1\n"
        shop.write("first", f"from dataclasses import dataclass\nfrom {shop.package} import things\n{source}")
        assert "thing 'first' can be changed; allowed: a frozen dataclass" in said(shop.things.entries)

    def test_a_plug_in_that_ends_the_program_is_named_instead(self, shop: Shop) -> None:
        shop.write("first", "raise SystemExit(3)")
        assert "'shop_of_things.first' cannot be imported: SystemExit: 3" in said(shop.things.entries)

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ("raise RuntimeError('no licence')\n", "RuntimeError: no licence"),
            ("import a_package_that_nobody_has\n", "ModuleNotFoundError: No module named"),
            ("def f(:\n", "SyntaxError: "),
        ],
    )
    def test_a_plug_in_that_cannot_be_imported_is_named_in_the_error_with_the_reason(
        self, shop: Shop, text: str, reason: str
    ) -> None:
        shop.write("good")
        shop.write("broken", text)
        for _ in range(2):  # the second call does not pretend that all is well
            message = said(lambda: shop.things.resolve("good"))
            assert f"the thing plug-in '{shop.package}.broken' cannot be imported: {reason}" in message
            assert message.endswith("mend or remove it")

    def test_a_mended_plug_in_is_found_by_a_later_call(self, shop: Shop) -> None:
        shop.write("broken", PLUGIN.format(package=shop.package, more="", summary="x") + "\nraise RuntimeError('x')\n")
        said(shop.things.entries)
        shop.write("broken")
        shop.write("good")
        assert list(shop.things.entries()) == ["broken", "good"]

    def test_a_removed_plug_in_is_no_longer_in_the_way(self, shop: Shop) -> None:
        shop.write("broken", "raise RuntimeError('x')\n")
        shop.write("good")
        said(shop.things.entries)
        (shop.root / shop.package / "broken.py").unlink()
        assert list(shop.things.entries()) == ["good"]


class TestThirdParties:
    def test_a_plug_in_of_a_third_party_is_found_by_its_entry_point(self, shop: Shop) -> None:
        shop.write("first")
        shop.write_third_party("sturdy")
        shop.publish("sturdy = sturdy")
        assert list(shop.things.entries()) == ["first", "sturdy"]
        assert shop.things.entry("sturdy").summary == "A third party's."
        assert shop.things.resolve({"name": "sturdy", "count": 9}).as_config()["count"] == 9

    def test_an_entry_point_may_name_the_class_itself(self, shop: Shop) -> None:
        shop.write_third_party("sturdy_package", more=", name='sturdy'")
        shop.publish("sturdy = sturdy_package:Thing")
        assert list(shop.things.entries()) == ["sturdy"]

    def test_an_uninstalled_third_party_is_not_found(self, shop: Shop) -> None:
        """The negative twin: the same module without its entry point is no plug-in."""
        shop.write_third_party("sturdy")
        shop.publish("sturdy = sturdy")
        shutil.rmtree(shop.root / "third-1.0.dist-info")
        importlib.invalidate_caches()
        assert shop.things.entries() == {}

    def test_an_entry_point_that_registers_another_name_is_refused(self, shop: Shop) -> None:
        shop.write_third_party("sturdy")
        shop.publish("stable = sturdy")
        message = said(shop.things.entries)
        assert f"the entry point 'stable' of {shop.package}.plugins registers no thing of that name" in message
        assert "allowed: one whose module registers 'stable'" in message

    def test_an_entry_point_whose_module_is_missing_or_broken_is_named_with_the_reason(self, shop: Shop) -> None:
        shop.publish("sturdy = sturdy_gone")
        message = said(shop.things.entries)
        assert "the thing plug-in 'sturdy = sturdy_gone' cannot be imported: ModuleNotFoundError" in message

    def test_an_entry_point_whose_attribute_is_missing_is_named_with_the_reason(
        self, shop: Shop, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        point = importlib.metadata.EntryPoint(name="sturdy", value="json:nothing", group=shop.things.group)
        monkeypatch.setattr(
            "protocols.registry.importlib",
            SimpleNamespace(
                import_module=importlib.import_module,
                metadata=SimpleNamespace(entry_points=lambda group: [point] if group == shop.things.group else []),
            ),
        )
        message = said(shop.things.entries)
        assert "the thing plug-in 'sturdy = json:nothing' cannot be imported: AttributeError" in message


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_number_that_is_not_finite_is_refused_even_where_the_plug_in_does_not_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: float
) -> None:
    package = tmp_path / "shop_of_numbers"
    package.mkdir()
    (package / "__init__.py").write_text(
        "from protocols.registry import Registry\nthings = Registry('thing', ('shop_of_numbers',), 'none.such')\n"
    )
    (package / "careless.py").write_text(
        "from dataclasses import dataclass\nfrom shop_of_numbers import things\n"
        "@things.register(source='s')\n@dataclass(frozen=True, kw_only=True)\n"
        "class Careless:\n    '''Looks at nothing.'''\n    x: float = 1.0\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    things = importlib.import_module("shop_of_numbers").things
    with pytest.raises(CloisterError, match=r"thing 'careless': x = -?(nan|inf) is not allowed; allowed: finite"):
        things.resolve({"name": "careless", "x": value})
