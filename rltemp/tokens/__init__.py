"""Distillation of language models token by token: large vocabularies, and teachers of which the top k are known."""

from rltemp.tokens.criterion import linear_distillation_loss, sparse_distillation_loss
from rltemp.tokens.linear import linear_kd_loss, linear_temperatures
from rltemp.tokens.sparse import coarse_logits, sparse_kd_bounds, sparse_kd_loss
from rltemp.tokens.stored import StoredTopK, TopKWriter
from rltemp.tokens.topk import TopK

__all__ = [
    "StoredTopK",
    "TopK",
    "TopKWriter",
    "coarse_logits",
    "linear_distillation_loss",
    "linear_kd_loss",
    "linear_temperatures",
    "sparse_distillation_loss",
    "sparse_kd_bounds",
    "sparse_kd_loss",
]
