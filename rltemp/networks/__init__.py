"""Networks: classifiers with named features, by name and from a generator."""

from rltemp.networks.base import Network
from rltemp.networks.mlp import MLP
from rltemp.networks.registry import list_networks, make_network

__all__ = ["MLP", "Network", "list_networks", "make_network"]
