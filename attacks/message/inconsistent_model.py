"""Hand different models to the members of a cluster, so that their sum is one member's update."""

from dataclasses import dataclass

from torch import Tensor

from attacks.api import MessageView, ModelView, message_attack
from protocols.check import CloisterError


@message_attack(
    source="Pasquini, Francati, Ateniese 2022, Eluding secure aggregation in federated learning via model "
    "inconsistency, CCS (gradient suppression)"
)
@dataclass(frozen=True, kw_only=True)
class InconsistentModel:
    """In each cluster with a faulty member one honest member gets the global model, the others one that is dead.

    The distributor colludes with the faulty members. In the dead model the last layer of rectified units has no weights
    and biases of -1: no input gets through, and of the cross-entropy's gradient nothing is left but that of the
    output's biases. So the cluster's sum is, in every other parameter, the update of the victim (the honest member with
    the first place) and of the faulty members, who know their own. Members follow the protocol, and send what they have
    learnt.
    """

    def hand_out(self, view: ModelView) -> Tensor:
        """See Distributing. Raises: CloisterError for a model without a hidden layer."""
        handed = view.model.repeat(view.members, 1)
        if len(view.honest) > 1:
            handed[list(view.honest[1:])] = _dead(view.model, view.layers)
        return handed

    def __call__(self, view: MessageView) -> None:  # noqa: ARG002
        return None


def _dead(model: Tensor, layers: tuple[int, ...]) -> Tensor:
    """Return the model with its last hidden layer dead: its weights zero, its biases -1."""
    if len(layers) < 4:
        raise CloisterError(
            f"attack 'inconsistent_model' needs a hidden layer, and the model has blocks of {list(layers)} parameters; "
            f"allowed: models with two layers or more, such as model = 'mlp'"
        )
    *_, weights, biases, _, _ = layers
    end = sum(layers[:-2])
    dead = model.clone()
    dead[end - biases - weights : end] = 0.0
    dead[end - biases : end] = -1.0
    return dead
