"""A client that the server lists as active and as dead is given away whole: both of its shares are released.

Claim: flwr 'provides SecAgg'; there (Bonawitz et al. 2017, CCS, Figure 4) a client releases one or the other.
"""

import importlib

from flwr.app import ConfigRecord

mod = importlib.import_module("flwr.client.mod.secure_aggregation.secaggplus_mod")
client = mod.SecAggPlusState(nid=1, threshold=1)
client.rd_seed_share_dict = {2: b"share of node 2's self-mask"}
client.sk1_share_dict = {2: b"share of node 2's mask key"}
asked = ConfigRecord({"stage": "unmask", "active_nids": [2], "dead_nids": [2]})
try:
    mod.check_stage("collect_masked_vectors", asked)
    mod.check_configs("unmask", asked)
    shares = mod._unmask(client, asked)["shares"]
    print(f"violated: node 1 releases {shares}" if len(shares) == 2 else "holds")
except ValueError as error:
    print(f"holds: {error}")
