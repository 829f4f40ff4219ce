"""A client that is lost before its shares are handed on stops the round for all.

Claim: the threshold allows 'the recovery of contributions from dropped clients' (SecAggPlusWorkflow).
"""

import importlib

from flwr.app import ConfigRecord

mod = importlib.import_module("flwr.client.mod.secure_aggregation.secaggplus_mod")
numbers = {"sample_num": 3, "share_num": 3, "threshold": 2, "target_range": 2**22, "mod_range": 2**32}
clients = {nid: mod.SecAggPlusState(nid=nid) for nid in (1, 2, 3)}
setup = ConfigRecord({**numbers, "clipping_range": 8.0, "max_weight": 1.0})
keys = {nid: mod._setup(client, setup) for nid, client in clients.items()}
listed = ConfigRecord({str(nid): [pair["pk1"], pair["pk2"]] for nid, pair in keys.items()})
for nid in (1, 2):  # node 3 is lost here: nobody ever gets a share of its keys
    mod._share_keys(clients[nid], listed)
clients[1].rd_seed_share_dict[2] = b"what node 2 has sent"
try:  # as SecAggPlusWorkflow.unmask_stage asks: dead is every sampled node that is not active
    mod._unmask(clients[1], ConfigRecord({"active_nids": [1, 2], "dead_nids": [3]}))
    print("holds")
except KeyError as error:
    print(f"violated: asked for its share of node {error}, which it never got, node 1 raises KeyError and is lost too")
