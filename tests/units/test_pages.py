"""The page of each protocol is what the code says now."""

import re
from pathlib import Path

import pytest

from protocols.check import CloisterError
from protocols.secure_sum import SecureSum, secure_sums
from protocols.testing import refusal
from protocols.testing.pages import page, write_pages

PAGES = Path(__file__).parents[2] / "protocols" / "secure_sum" / "pages"


@pytest.mark.parametrize("name", sorted(secure_sums.entries()))
def test_the_committed_page_is_what_make_pages_writes(name: str) -> None:
    assert (PAGES / f"{name}.md").read_text(encoding="utf-8") == page(name), "run make pages"


def test_there_is_no_page_of_a_protocol_that_is_gone() -> None:
    assert {path.stem for path in PAGES.glob("*.md")} == set(secure_sums.entries())


@pytest.mark.parametrize("name", sorted(secure_sums.entries()))
def test_a_page_says_all_that_a_user_must_know(name: str) -> None:
    text = page(name)
    for heading in ("Threat model:", "**Guarantees**", "Source:", "## Thresholds", "## Messages", "## Cost"):
        assert heading in text
    assert "->>" in text, "no message was seen"


def arrows_of(text: str) -> list[list[tuple[int, str, str, int]]]:
    """The (round, sender, receiver, bytes of all) of each arrow, a list for each diagram of a page."""
    diagrams = re.findall(r"```mermaid\n(.*?)```", text, re.DOTALL)
    arrow = re.compile(r"(\w)->>(\w): round (\d+), (\d+) x ([\d,]+) bytes")
    return [
        [
            (int(number), sender, receiver, int(count) * int(size.replace(",", "")))
            for sender, receiver, number, count, size in arrow.findall(diagram)
        ]
        for diagram in diagrams
    ]


@pytest.mark.parametrize("name", sorted(secure_sums.entries()))
def test_a_diagram_shows_all_bytes_in_rounds_that_follow_each_other_and_no_more_than_the_cost_says(name: str) -> None:
    (arrows, *_) = arrows_of(page(name))
    rounds = [number for number, *_ in arrows]
    assert rounds == sorted(rounds)
    assert set(rounds) == set(range(1, max(rounds) + 1))
    protocol = secure_sums.make(secure_sums.resolve(name))
    parties = next(c for c in range(4, 10) if runs(protocol, c))
    cost = protocol.cost(parties=parties, clusters=1, coordinates=1000)
    assert max(rounds) <= cost.rounds
    assert sum(size for *_, size in arrows) == sum(part.payload_bytes for part in (cost.offline, cost.mpc, cost.upload))


def test_a_masked_sum_starts_with_keys_and_ends_with_shares_of_them() -> None:
    """Bonawitz et al. 2017, Figure 4: keys, shares of keys, masked words, who is left, shares for those."""
    (arrows, *_) = arrows_of(page("masked"))
    who = [(sender, receiver) for _, sender, receiver, _ in arrows]
    assert who == [("M", "B"), ("B", "M"), ("M", "B"), ("B", "M"), ("M", "B"), ("B", "M"), ("M", "B")]
    assert [number for number, *_, size in arrows if size == 4 * 8000] == [5]


def test_what_a_protocol_is_known_to_violate_is_on_its_page() -> None:
    said = secure_sums.entry("additive_stock").facts["violates"]
    assert all(f"- {number}: {text}" in page("additive_stock") for number, text in said.items())
    assert "## Violated" not in page("additive")


def runs(protocol: SecureSum, parties: int) -> bool:
    return refusal(lambda: protocol.check_size(parties=parties)) is None


def test_pages_are_written_for_all_protocols_and_an_unknown_one_is_refused(tmp_path: Path) -> None:
    assert {path.stem for path in write_pages(tmp_path / "new")} == set(secure_sums.entries())
    with pytest.raises(CloisterError, match="did you mean 'additive'"):
        page("aditive")
