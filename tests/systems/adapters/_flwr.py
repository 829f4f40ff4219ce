"""The names of flwr that its adapter uses, imported once, with the deprecations of flwr's own imports silenced."""

import importlib
import warnings
from typing import Any

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from flwr.app import ConfigRecord, Context, Error, Message, RecordDict
    from flwr.common import (
        Code,
        FitIns,
        FitRes,
        Parameters,
        Status,
        bytes_to_ndarray,
        ndarray_to_bytes,
        ndarrays_to_parameters,
        parameters_to_ndarrays,
    )
    from flwr.common.constant import ErrorCode
    from flwr.common.secure_aggregation.crypto.symmetric_encryption import generate_shared_key
    from flwr.common.secure_aggregation.secaggplus_constants import RECORD_KEY_CONFIGS, Key, Stage
    from flwr.common.secure_aggregation.secaggplus_utils import pseudo_rand_gen
    from flwr.common.serde import message_from_proto, message_to_proto
    from flwr.compat.common import recorddict_compat
    from flwr.proto.message_pb2 import Message as Wire
    from flwr.server.compat.grid_client_proxy import GridClientProxy
    from flwr.server.compat.legacy_context import LegacyContext
    from flwr.server.workflow.constant import MAIN_CONFIGS_RECORD, MAIN_PARAMS_RECORD
    from flwr.server.workflow.constant import Key as WorkflowKey
    from flwr.supercore.primitives.asymmetric import bytes_to_private_key, bytes_to_public_key
    from flwr.supercore.task_identity import TaskIdentity
    from google.protobuf.message import DecodeError

    # The packages export functions under the names of these modules.
    client: Any = importlib.import_module("flwr.client.mod.secure_aggregation.secaggplus_mod")
    server: Any = importlib.import_module("flwr.server.workflow.secure_aggregation.secaggplus_workflow")

__all__ = [
    "MAIN_CONFIGS_RECORD",
    "MAIN_PARAMS_RECORD",
    "RECORD_KEY_CONFIGS",
    "Code",
    "ConfigRecord",
    "Context",
    "DecodeError",
    "Error",
    "ErrorCode",
    "FitIns",
    "FitRes",
    "GridClientProxy",
    "Key",
    "LegacyContext",
    "Message",
    "Parameters",
    "RecordDict",
    "Stage",
    "Status",
    "TaskIdentity",
    "Wire",
    "WorkflowKey",
    "bytes_to_ndarray",
    "bytes_to_private_key",
    "bytes_to_public_key",
    "client",
    "generate_shared_key",
    "message_from_proto",
    "message_to_proto",
    "ndarray_to_bytes",
    "ndarrays_to_parameters",
    "parameters_to_ndarrays",
    "pseudo_rand_gen",
    "recorddict_compat",
    "server",
]
