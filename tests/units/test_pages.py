"""The page of each protocol is what the code says now."""

from pathlib import Path

import pytest

from protocols.check import CloisterError
from protocols.secure_sum import secure_sums
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


def test_pages_are_written_for_all_protocols_and_an_unknown_one_is_refused(tmp_path: Path) -> None:
    assert {path.stem for path in write_pages(tmp_path / "new")} == set(secure_sums.entries())
    with pytest.raises(CloisterError, match="did you mean 'additive'"):
        page("aditive")
