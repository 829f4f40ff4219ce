"""An even num_shares below the number of clients makes more neighbours than shares: every client fails.

Claim: num_shares may be any integer above 2; an even one 'should better be odd', no more (SecAggPlusWorkflow).
"""

import importlib
from types import SimpleNamespace as Stub

from flwr.app import ConfigRecord
from flwr.common import FitIns, ndarrays_to_parameters
from flwr.compat.common.recorddict_compat import parameters_to_arrayrecord
from flwr.supercore.task_identity import TaskIdentity

workflow = importlib.import_module("flwr.server.workflow.secure_aggregation.secaggplus_workflow")
TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, 1, 99
nothing = ndarrays_to_parameters([])
sampled = [(Stub(node_id=number), FitIns(nothing, {})) for number in range(6)]
records = {"config": ConfigRecord({"current_round": 1}), "parameters": parameters_to_arrayrecord(nothing, True)}
kept = Stub(config_records={"config": records["config"]}, array_records={"parameters": records["parameters"]})
context = Stub(
    state=kept, strategy=Stub(configure_fit=lambda *_: sampled), client_manager=Stub(num_available=lambda: 6)
)
sent, state = [], workflow.WorkflowState()
grid = Stub(send_and_receive=lambda messages, timeout: sent.extend(messages) or [])
workflow.SecAggPlusWorkflow(4, 3).setup_stage(grid, context, state)
shares, neighbours = sent[0].content["secaggplus_configs"]["share_num"], len(state.nid_to_neighbours[0])
print(f"violated: each client deals {shares} shares to {neighbours} neighbours" if shares < neighbours else "holds")
