"""What a method has put on a model: the parameters it trains, and the way back to the base.

Every method leaves one of these, so that training, checkpoints and files need not know which method it was.
Knows nothing about files: only the names that tensors have in them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from engine.methods.inject import Surgery

Named = dict[str, Tensor]


def _as_they_are(tensors: Named) -> Named:
    return tensors


@dataclass
class Fitted:
    """A method on a model.

    Attributes:
        trained: what the optimizer trains, by the name each parameter has in the adapter's file.
        surgery: how the model was changed; `remove` takes it back.
        stored: makes of the trained tensors those that are written, where the two differ (PiSSA).
    """

    surgery: Surgery
    trained: dict[str, nn.Parameter]
    stored: Callable[[Named], Named] = field(default=_as_they_are)

    @property
    def model(self) -> nn.Module:
        """The model the method sits on."""
        return self.surgery.model

    def tensors(self) -> Named:
        """A copy of the adapter on the CPU, under the names of its file."""
        copies = {name: p.detach().to("cpu", copy=True).contiguous() for name, p in self.trained.items()}
        return self.stored(copies)

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Write `tensors`, as `trained` names them, into the trained parameters.

        Raises:
            ValueError: naming what is missing, what is left over, and what has another shape; nothing is written then.
        """
        problems = [f"{name} is missing" for name in self.trained if name not in tensors]
        problems += [f"{name} belongs to nothing" for name in tensors if name not in self.trained]
        for name, parameter in self.trained.items():
            if name in tensors and tensors[name].shape != parameter.shape:
                given, here = tuple(tensors[name].shape), tuple(parameter.shape)
                problems.append(f"{name} has the shape {given}, here {here} is needed")
        if problems:
            more = f", and {len(problems) - 3} more" if len(problems) > 3 else ""
            raise ValueError(f"This adapter does not fit: {'; '.join(problems[:3])}{more}.")
        with torch.no_grad():
            for name, parameter in self.trained.items():
                parameter.copy_(tensors[name])

    def remove(self) -> None:
        """Give the base back bit for bit. Safe to call twice."""
        self.surgery.undo()
