"""Axolotl: a plugin whose callback sets the temperature of every step by a schedule of rltemp.

In the configuration of a run, beside Axolotl's own plugin for distillation:

    plugins: [axolotl.integrations.kd.KDPlugin, axolotl_plugin.TemperaturePlugin]
    kd_temperature: 4.0        # where the loss begins; the callback moves it

Axolotl has one temperature for all tokens, softens the teacher's top k in its collator, and the student in a fused
loss. The callback needs nothing but the interface of transformers; without Axolotl, `python
examples/axolotl_plugin.py` prints the temperatures.
"""

from typing import Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

import rltemp

try:
    from axolotl.integrations.base import BasePlugin
except ImportError:  # so that the callback can be tried without it
    BasePlugin = object


class TemperatureCallback(TrainerCallback):
    """Before every step, the schedule's temperature for collator and loss, where Axolotl keeps them."""

    def __init__(self, policy: rltemp.TemperaturePolicy, trainer: Any) -> None:
        self.policy, self.trainer = policy, trainer

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Move the temperature to where the run is."""
        temperature = temperature_at(self.policy, state.global_step / state.max_steps)
        model = kwargs.get("model") or self.trainer.model
        base = model.get_base_model() if hasattr(model, "get_base_model") else model
        if hasattr(self.trainer.data_collator, "kd_temperature"):
            self.trainer.data_collator.kd_temperature = temperature
        base._loss_function.temperature = temperature


class TemperaturePlugin(BasePlugin):
    """What Axolotl loads by its name; another schedule is another sub-class."""

    def policy(self) -> rltemp.TemperaturePolicy:
        """The schedule."""
        return rltemp.make_policy("anneal", start=4.0, end=1.0)

    def add_callbacks_post_trainer(self, cfg: Any, trainer: Any) -> list[TrainerCallback]:
        """Called by Axolotl when the trainer is there."""
        return [TemperatureCallback(self.policy(), trainer)]


def temperature_at(policy: rltemp.TemperaturePolicy, progress: float) -> float:
    """The one temperature of a schedule; the logits that it is asked about are of no instance."""
    nothing = torch.zeros(2, 2), torch.tensor([[0.0, 1.0], [3.0, 0.0]])
    chosen = policy(nothing[0], nothing[1], progress=progress)
    shared = chosen.teacher[0].expand(2)
    if not all(torch.allclose(shared, part) for part in (chosen.teacher, chosen.student, chosen.scale.sqrt())):
        raise rltemp.InputError("policy must be a schedule of one temperature with scale T * T, as Axolotl has it")
    return float(shared[0])


if __name__ == "__main__":
    for step in range(11):
        print(f"{step / 10:.1f}: T = {temperature_at(TemperaturePlugin().policy(), step / 10):.2f}")
