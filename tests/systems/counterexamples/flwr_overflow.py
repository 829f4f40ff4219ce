"""With the default ranges and more than 1,024 clients the sum wraps around, and a ratio as num_shares hides it.

Claim: the weighted average of the clients' parameters; a warning is given for num_shares as an integer alone.
"""

import numpy as np
from flwr.common.secure_aggregation.quantization import dequantize, quantize

clients, clip, quantisation, modulus = 1025, 8.0, 2**22, 2**32  # SecAggPlusWorkflow's defaults
total = sum(quantize([np.array([clip])], clip, quantisation)[0].astype(np.int64) for _ in range(clients)) % modulus
mean = (dequantize([total], clip, quantisation)[0][0] - (clients - 1) * clip) / clients
print(f"violated: {clients} clients at 8.0 have the mean {mean:.3f}" if abs(mean - clip) > 0.01 else "holds")
