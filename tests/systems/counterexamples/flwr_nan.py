"""One NaN becomes a large number and moves the average of all clients, without an error.

Claim: each parameter is 'bounded within [-clipping_range, clipping_range]' (SecAggPlusWorkflow, clipping_range).
"""

import warnings

import numpy as np
from flwr.common.secure_aggregation.quantization import dequantize, quantize

warnings.simplefilter("ignore")  # numpy notices the cast
(word,) = quantize([np.array([np.nan])], 8.0, 2**22)
(value,) = dequantize([word], 8.0, 2**22)
print(f"violated: nan is quantised to {word[0]}, which stands for {value[0]}" if not abs(value[0]) <= 8.0 else "holds")
