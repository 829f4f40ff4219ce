"""Of a pairwise mask's key 28 bits count: it is base64 text when it is folded to 32 bits.

Claim: SecAgg's masks are a secure generator's output (Bonawitz et al. 2017, CCS, which flwr's documents name).
"""

from unittest import mock

from flwr.common.secure_aggregation import secaggplus_utils
from flwr.common.secure_aggregation.crypto.symmetric_encryption import generate_shared_key
from flwr.supercore.primitives.asymmetric import generate_key_pairs

seen, generator = 0, secaggplus_utils.np.random.RandomState
with mock.patch.object(secaggplus_utils.np.random, "RandomState") as state:
    for _ in range(64):  # a bit that can be set stays 0 over all with probability 2^-64
        (private, _), (_, public) = generate_key_pairs(), generate_key_pairs()
        state.side_effect = generator
        secaggplus_utils.pseudo_rand_gen(generate_shared_key(private, public), 2**32, [(1,)])
        seen |= state.call_args.args[0]
bits = seen.bit_count()
print(f"violated: in 64 keys only {bits} bits of the seed are ever set, mask {seen:#010x}" if bits < 128 else "holds")
