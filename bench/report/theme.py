"""The colours of light and dark pages, shared by the style sheet and the figures."""

from dataclasses import dataclass

__all__ = ["DARK", "LIGHT", "Theme"]


@dataclass(frozen=True, kw_only=True)
class Theme:
    """The colours of one style of page; `lift` is the share of white that lightens the colours of data."""

    name: str
    paper: str
    ink: str
    soft: str
    rule: str
    accent: str
    bad: str
    good: str
    warn: str
    lift: float

    def settings(self) -> dict[str, object]:
        """Return the settings of matplotlib that give figures this style."""
        return {
            "font.family": "DejaVu Sans",
            "font.size": 9,
            "axes.titlesize": 9,
            "axes.labelsize": 9,
            "xtick.labelsize": 8.5,
            "ytick.labelsize": 8.5,
            "legend.fontsize": 9,
            "legend.frameon": False,
            "figure.facecolor": self.paper,
            "savefig.facecolor": self.paper,
            "axes.facecolor": self.paper,
            "axes.edgecolor": self.soft,
            "axes.linewidth": 0.8,
            "grid.color": self.rule,
            "grid.linewidth": 0.7,
            "hatch.color": self.soft,
            "hatch.linewidth": 0.6,
            "text.color": self.ink,
            "axes.labelcolor": self.ink,
            "xtick.color": self.soft,
            "ytick.color": self.soft,
            "xtick.labelcolor": self.ink,
            "ytick.labelcolor": self.ink,
            "xtick.major.size": 3,
            "ytick.major.size": 3,
            "xtick.major.width": 0.8,
            "ytick.major.width": 0.8,
            # A fixed salt, so that the same results give the same bytes.
            "svg.hashsalt": "cloister",
            "svg.fonttype": "path",
        }


LIGHT = Theme(
    name="light",
    paper="#ffffff",
    ink="#1c2128",
    soft="#5f6873",
    rule="#e1e5ea",
    accent="#0b62a8",
    bad="#b3261e",
    good="#1a7048",
    warn="#8a5a00",
    lift=0.0,
)
DARK = Theme(
    name="dark",
    paper="#171b21",
    ink="#e6e9ee",
    soft="#9aa4b0",
    rule="#2f3740",
    accent="#7db8ee",
    bad="#ff8a80",
    good="#6fd3a0",
    warn="#f0c060",
    lift=0.22,
)
