"""The largest mask entry is never drawn; with modulus_range = 2 there is no mask at all.

Claim: mask entries 'are uniformly sampled ([0, modulus_range-1])' (SecAggPlusWorkflow, modulus_range).
"""

import os

from flwr.common.secure_aggregation.secaggplus_utils import pseudo_rand_gen

masks = {size: set(pseudo_rand_gen(os.urandom(32), size, [(4096,)])[0].tolist()) for size in (2, 4)}
missing = {size: sorted(set(range(size)) - drawn) for size, drawn in masks.items()}
print(f"violated: of 4,096 entries none is {missing[4]} modulo 4, {missing[2]} modulo 2" if missing[4] else "holds")
