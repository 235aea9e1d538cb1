"""Networks: classifiers that expose their features, built by name from a generator."""

from rltemp.networks.checkpoints import load_checkpoint, load_crd_checkpoint
from rltemp.networks.cnn import CNN
from rltemp.networks.execution import Execution
from rltemp.networks.external import ExternalNetwork, classifier_of
from rltemp.networks.mlp import MLP
from rltemp.networks.network import Network
from rltemp.networks.registry import list_networks, make_network, register_network
from rltemp.networks.requests import check_request

__all__ = [
    "CNN",
    "MLP",
    "Execution",
    "ExternalNetwork",
    "Network",
    "check_request",
    "classifier_of",
    "list_networks",
    "load_checkpoint",
    "load_crd_checkpoint",
    "make_network",
    "register_network",
]
