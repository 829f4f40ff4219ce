"""The number of examples, the weighting factor, reaches the server in clear beside the masked update.

Claim: 'a weighting factor and a weighted version of the locally updated parameters, both of which are masked'.
"""

import importlib
import os

import numpy as np
from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.common import Code, FitRes, Status, ndarrays_to_parameters
from flwr.compat.common.recorddict_compat import fitres_to_recorddict
from flwr.supercore.task_identity import TaskIdentity

mod = importlib.import_module("flwr.client.mod.secure_aggregation.secaggplus_mod")
TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, 1, 99
ranges = {"clipping_range": 8.0, "target_range": 2**22, "mod_range": 2**32, "max_weight": 1000.0}
client = mod.SecAggPlusState(nid=1, current_stage="share_keys", threshold=1, rd_seed=os.urandom(32), **ranges)
state = RecordDict({"secaggplus_state": ConfigRecord(client.to_dict())})
context = Context(run_id=1, node_id=1, node_config={}, state=state, run_config={})
stage = ConfigRecord({"stage": "collect_masked_vectors", "ctxts": [], "srcs": []})
asked = Message(RecordDict({"secaggplus_configs": stage}), dst_node_id=1, message_type="train")
result = FitRes(Status(Code.OK, ""), ndarrays_to_parameters([np.zeros(1)]), num_examples=37, metrics={})
reply = mod.secaggplus_mod(asked, context, lambda *_: Message(fitres_to_recorddict(result, True), reply_to=asked))
plain = {key: value for record in reply.content.metric_records.values() for key, value in record.items()}
print(f"violated: beside the masked words the reply says {plain}" if 37 in plain.values() else "holds")
