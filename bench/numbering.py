"""The public number of a batch of secure sums: it draws servers and graphs, and labels what is secret.

It follows from the cell's seed, the round, the attempt and the first cluster of the batch, so that a row does not
depend on what its parties have run before. That a number comes again, in another cell, is for the parties to see, which
then agree on new keys.
"""

import hashlib

from protocols.check import CloisterError

__all__ = ["batch_number"]

# 48 bits in all, the most significant ones first; what comes later in a cell has a larger number.
_SEED_BITS, _ROUND_BITS, _ATTEMPT_BITS, _CLUSTER_BITS = 12, 18, 2, 16


def batch_number(*, seed: int, round_index: int, attempt: int, cluster: int) -> int:
    """Return the number of the batch that begins with that cluster in that round.

    Guarantees:
        Different batches of one cell have different numbers, which grow with the round, then attempt, then cluster.
        Cells of 4096 seeds share no numbers, but for collisions of a hash to 12 bits.

    Raises: CloisterError for a round or a cluster that has no number.
    """
    drawn = int.from_bytes(hashlib.sha256(f"cloister batch {seed}".encode()).digest()) % 2**_SEED_BITS
    number = drawn
    for name, bits, value in (
        ("round", _ROUND_BITS, round_index + 1),
        ("attempt", _ATTEMPT_BITS, attempt),
        ("cluster", _CLUSTER_BITS, cluster),
    ):
        if not 0 <= value < 2**bits:
            raise CloisterError(f"{name} = {value} of a secure sum has no number; allowed: 0 to {2**bits - 1}")
        number = number << bits | value
    return number
