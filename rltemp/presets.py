"""Presets: whole methods of papers, that is a rule for the temperatures, loss weights, warm-up, and values per pair."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from rltemp.errors import InputError
from rltemp.objectives import DKD, AdaptiveKD, DistillationLoss, EntropySplitKD, Objective
from rltemp.objectives.method import Method
from rltemp.policies import make_policy

__all__ = ["Preset", "list_presets", "make_preset"]

_EPOCHS = 240
"""Of the papers' runs on CIFAR-100."""

_WARMUP = 20 / _EPOCHS
"""Share of the run over which DKD (Zhao et al., 2022) and DTKD (Wei & Bai, 2024) fade in."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Preset(Method):
    """One paper's whole method: the loss to minimize, and the rule that chooses the temperatures.

    Attributes:
        name: what `make_preset` takes.
        summary: one line.
        paper: authors and year of the source.
        policy: name of the rule, for `make_policy`.
        options: keyword arguments of the rule.
        pairs: fields that differ for a pair of networks, by the pair's name, teacher first ("R56-R20").
    """

    name: str
    summary: str
    paper: str
    policy: str
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict, hash=False)
    pairs: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict, hash=False)

    def for_pair(self, pair: str) -> Preset:
        """The method with the values the paper takes for a pair of networks, teacher first, such as "R56-R20".

        Raises:
            InputError: for a pair that the preset has no values for.
        """
        if pair not in self.pairs:
            known = ", ".join(self.pairs) or "none"
            raise InputError(
                f"pair must be one of those the preset {self.name!r} has values for ({known}), got {pair!r}"
            )
        return dataclasses.replace(self, **self.pairs[pair])

    def for_run(self, epochs: int) -> Preset:
        """The method in a run of another length than the papers' 240 epochs: its warm-up stays as many epochs long.

        A run of 20 epochs or less is then all warm-up. As a share of the run, 20 of 240 epochs would end before a
        short run's student can bear the whole loss: DKD's and DTKD's is 10 and 100 times as curved as plain
        distillation's, and students without batch normalization collapse.

        Args:
            epochs: of the run, >= 1.

        Raises:
            InputError: for fewer epochs than 1.
        """
        if epochs < 1:
            raise InputError(f"epochs must be >= 1, got {epochs}")
        return dataclasses.replace(self, warmup=min(1.0, self.warmup * _EPOCHS / epochs))

    def loss(self, **options: Any) -> DistillationLoss:
        """A new criterion of this method with a new policy; `options` of the rule override those of the preset."""
        return DistillationLoss(
            make_policy(self.policy, **{**self.options, **options}),
            self.objective,
            self.ce_weight,
            self.kd_weight,
            warmup=self.warmup,
            plain_weight=self.plain_weight,
            plain_temperature=self.plain_temperature,
        )


def _dkd_pairs(factor: float = 1.0) -> dict[str, dict[str, Objective]]:
    """DKD's objective by pair: alpha 1 and the published beta, both times `factor` (LSKD's loss weight)."""
    betas = {
        "R56-R20": 2.0,
        "R110-R32": 2.0,
        "R32x4-R8x4": 8.0,
        "W40_2-W16_2": 6.0,
        "W40_2-W40_1": 6.0,
        "VGG13-VGG8": 6.0,
        "VGG13-MV2": 6.0,
        "R50-MV2": 8.0,
        "R32x4-ShuV1": 8.0,
        "R32x4-ShuV2": 8.0,
        "W40_2-ShuV1": 8.0,
    }
    return {pair: {"objective": DKD(factor, factor * beta)} for pair, beta in betas.items()}


_DTKD_PAIRS = {
    "R56-R20": {"kd_weight": 1.0, "plain_weight": 0.5},
    "R110-R32": {"kd_weight": 1.0, "plain_weight": 0.5},
    "W40_2-W40_1": {"kd_weight": 1.0, "plain_weight": 0.5},
    "W40_2-ShuV1": {"kd_weight": 2.0, "plain_weight": 0.5},
    "R50-MV2": {"kd_weight": 3.0, "plain_weight": 2.0},
}

_DECOUPLED: dict[str, Any] = {
    "objective": DKD(),
    "ce_weight": 1.0,
    "kd_weight": 1.0,
    "warmup": _WARMUP,
    "pairs": _dkd_pairs(),
}

_PRESETS = {
    preset.name: preset
    for preset in (
        Preset(
            name="kd-cifar",
            summary="plain distillation, T = 4",
            paper="Hinton et al. 2015",
            policy="static",
            options={"temperature": 4.0},
        ),
        Preset(
            name="kd-imagenet",
            summary="plain distillation, T = 1, half and half",
            paper="Hinton et al. 2015",
            policy="static",
            options={"temperature": 1.0},
            ce_weight=0.5,
            kd_weight=0.5,
        ),
        Preset(
            name="dkd",
            summary="decoupled distillation, T = 4",
            paper="Zhao et al. 2022",
            policy="static",
            options={"temperature": 4.0},
            **_DECOUPLED,
        ),
        Preset(
            name="ctkd",
            summary="learned temperature",
            paper="Li et al. 2023",
            policy="ctkd",
        ),
        Preset(
            name="ctkd-instance",
            summary="learned temperature per instance",
            paper="Li et al. 2023",
            policy="ctkd-instance",
        ),
        Preset(
            name="ctkd-dkd",
            summary="learned temperature in decoupled distillation",
            paper="Li et al. 2023",
            policy="ctkd",
            **_DECOUPLED,
        ),
        Preset(
            name="dtkd",
            summary="temperatures by largest logit, plain distillation beside",
            paper="Wei & Bai 2024",
            policy="dtkd",
            ce_weight=1.0,
            kd_weight=3.0,
            plain_weight=1.0,
            warmup=_WARMUP,
            pairs=_DTKD_PAIRS,
        ),
        Preset(
            name="normkd-cifar",
            summary="temperatures by spread, n = 2",
            paper="Chi et al. 2023",
            policy="normkd",
            options={"norm": 2.0},
        ),
        Preset(
            name="normkd-imagenet",
            summary="temperatures by spread, n = 1, half and half",
            paper="Chi et al. 2023",
            policy="normkd",
            options={"norm": 1.0},
            ce_weight=0.5,
            kd_weight=0.5,
        ),
        Preset(
            name="normkd-dkd",
            summary="temperatures by spread in decoupled distillation",
            paper="Chi et al. 2023",
            policy="normkd",
            **_DECOUPLED,
        ),
        Preset(
            name="lskd",
            summary="standardized logits, T = 2",
            paper="Sun et al. 2024",
            policy="lskd",
            kd_weight=9.0,
        ),
        Preset(
            name="lskd-dkd",
            summary="standardized logits in decoupled distillation",
            paper="Sun et al. 2024",
            policy="lskd",
            **{**_DECOUPLED, "objective": DKD(9.0, 72.0), "pairs": _dkd_pairs(9.0)},
        ),
        Preset(
            name="ttm",
            summary="softened teacher, gamma = 0.1",
            paper="Zheng & Yang 2024",
            policy="ttm",
            options={"temperature": 10.0},
            ce_weight=1.0,
            kd_weight=45.0,
        ),
        Preset(
            name="wttm",
            summary="softened teacher, weighted, gamma = 0.2",
            paper="Zheng & Yang 2024",
            policy="wttm",
            options={"temperature": 5.0},
            ce_weight=1.0,
            kd_weight=4.0,
        ),
        Preset(
            name="akl",
            summary="forward and reverse KL, weighed by where the networks differ, T = 1",
            paper="Wu et al. 2025",
            policy="static",
            options={"temperature": 1.0},
            objective=AdaptiveKD(),
            ce_weight=0.0,
            kd_weight=1.0,
        ),
        Preset(
            name="entropy-split",
            summary="reverse KL, and forward KL where the teacher has more than 1 nat, T = 1",
            paper="after Jin et al. 2026",
            policy="static",
            options={"temperature": 1.0},
            objective=EntropySplitKD(1.0),
            ce_weight=0.0,
            kd_weight=1.0,
        ),
    )
}


def list_presets() -> dict[str, str]:
    """Names that `make_preset` takes, each with one line of description and its paper."""
    return {name: f"{preset.summary} ({preset.paper})" for name, preset in _PRESETS.items()}


def make_preset(name: str, pair: str | None = None) -> Preset:
    """A paper's whole method by name.

    Args:
        name: one of `list_presets()`.
        pair: a pair of networks that the paper has values for, such as "R56-R20"; None for the paper's defaults.

    Raises:
        InputError: for an unknown name or pair.
    """
    if name not in _PRESETS:
        raise InputError(f"preset must be one of {', '.join(_PRESETS)}, got {name!r}")
    preset = _PRESETS[name]
    return preset if pair is None else preset.for_pair(pair)
