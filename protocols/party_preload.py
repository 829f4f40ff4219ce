"""Imported by the fork server, once: what it has loaded, no party process that it forks loads again."""

import contextlib

from protocols import crypten_engine, party_process
from protocols.check import CloisterError
from protocols.playable import cluster_protocols

__all__ = ["crypten_engine", "party_process"]

with contextlib.suppress(CloisterError):  # of a third party's plug-in: who asks for a protocol is told
    cluster_protocols.entries()
