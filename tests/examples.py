"""How many examples a test tries, as a share of its profile's."""

from hypothesis import settings

__all__ = ["examples"]


def examples(share: float) -> settings:
    """Return settings for a test whose examples are dearer or cheaper than usual; at night it tries more as well."""
    return settings(max_examples=max(1, round(share * settings.default.max_examples)))
