"""The baseline policy: one temperature for every instance of the whole run."""

from torch import Tensor

from rltemp.checks import check_number
from rltemp.policies.policy import TemperaturePolicy
from rltemp.temperatures import Temperatures

__all__ = ["StaticPolicy"]


class StaticPolicy(TemperaturePolicy):
    """One temperature for every instance of the whole run: T_t = T_s = T.

    Source: Hinton et al. (2015), "Distilling the Knowledge in a Neural Network", section 2.

    Args:
        temperature: T, > 0.
        scale: factor on the loss of every instance, > 0; None for T^2.
    """

    def __init__(self, temperature: float = 4.0, scale: float | None = None) -> None:
        super().__init__()
        self.temperature = check_number("temperature", temperature, low=0.0, low_open=True)
        self.scale = None if scale is None else check_number("scale", scale, low=0.0, low_open=True)

    def choose(
        self,
        student_logits: Tensor,
        teacher_logits: Tensor,
        targets: Tensor | None,
        progress: float | Tensor,
        alignment: Tensor | None,
    ) -> Temperatures:
        """The temperature T for each of B instances; the logits give only B, dtype, and device."""
        return Temperatures.shared(teacher_logits.new_full((teacher_logits.shape[0],), self.temperature), self.scale)
