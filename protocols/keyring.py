"""What a party holds from the start of a pool to its end: keys with all others, its identity, its own secrets."""

from dataclasses import dataclass, field

from protocols.identity import Identity, exchange_identities
from protocols.network import Link
from protocols.secret_source import OwnSecrets, Secrets
from protocols.zero_sharing import ZeroShares, agree_on_keys

__all__ = ["Keyring", "make_keyring"]


@dataclass(frozen=True, kw_only=True)
class Keyring:
    """One party's secrets; repr shows none."""

    zero_shares: ZeroShares = field(repr=False)
    identity: Identity = field(repr=False)
    secrets: Secrets = field(repr=False)


def make_keyring(link: Link, parties: int) -> Keyring:
    """Return fresh keys after agreeing with each of the `parties` others, directly and not through the board."""
    return Keyring(
        zero_shares=agree_on_keys(link, parties),
        identity=exchange_identities(link, parties),
        secrets=OwnSecrets.fresh(),
    )
