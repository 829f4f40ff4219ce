"""What a party process reports of a batch, as plain values: what it sent, whom it lost, or why it failed."""

from collections.abc import Collection, Mapping
from dataclasses import asdict
from types import MappingProxyType
from typing import Any

from protocols.check import CloisterError
from protocols.network import (
    CheatingDetectedError,
    NetworkError,
    OutOfStepError,
    PartyCrashedError,
    PartyFailedError,
    PartyTimeoutError,
    TooFewPartiesError,
)
from protocols.types import Cost, Traffic

__all__ = ["error_of", "failure", "success", "traffic_of"]

_KINDS = (NetworkError, PartyCrashedError, PartyTimeoutError, OutOfStepError, TooFewPartiesError, CloisterError)
_ERRORS: Mapping[str, type[Exception]] = MappingProxyType({error.__name__: error for error in _KINDS})


def success(traffic: Traffic, lost: Collection[int]) -> dict[str, Any]:
    """Return the report of a party that has played to the end, although it lost these peers."""
    return {"ok": True, "lost": sorted(lost), "traffic": asdict(traffic)}


def failure(traffic: Traffic, error: Exception) -> dict[str, Any]:
    """Return the report of a party that has failed."""
    suspects = sorted(error.suspects) if isinstance(error, CheatingDetectedError) else []
    said = {"kind": type(error).__name__, "text": str(error), "suspects": suspects}
    return {"ok": False, **said, "traffic": asdict(traffic)}


def error_of(report: Mapping[str, Any]) -> Exception:
    """Return the error that a party reports; PartyFailedError for one of a kind that no network has."""
    if report["kind"] == CheatingDetectedError.__name__:
        return CheatingDetectedError(report["text"], suspects=frozenset(report["suspects"]))
    kind = _ERRORS.get(report["kind"])
    return PartyFailedError(f"{report['kind']}: {report['text']}") if kind is None else kind(report["text"])


def traffic_of(report: Mapping[str, Any]) -> Traffic:
    """Return what a party reports to have sent."""
    plain = report["traffic"]
    return Traffic(offline=Cost(**plain["offline"]), mpc=Cost(**plain["mpc"]), upload=Cost(**plain["upload"]))
