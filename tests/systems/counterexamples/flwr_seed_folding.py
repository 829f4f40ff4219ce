"""The 32 random bytes of a mask's seed are folded to 32 bits, so that different seeds give one mask.

Claim: SecAgg's masks are a secure generator's output (Bonawitz et al. 2017, CCS, which flwr's documents name).
"""

import os

from flwr.common.secure_aggregation.secaggplus_utils import pseudo_rand_gen

seed = os.urandom(32)
moved = seed[4:] + seed[:4]  # the same 4-byte words in another order
one, other = (pseudo_rand_gen(each, 2**32, [(4,)])[0].tolist() for each in (seed, moved))
print(
    "violated: a seed of 32 bytes and its 4-byte words in another order give the same mask" if one == other else "holds"
)
