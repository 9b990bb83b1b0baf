"""Parameters of the base whose place is taken: their numbers may rest elsewhere, and come back as they were."""

import pytest
import torch
from torch import nn

from engine.methods import whole
from engine.methods.inject import Surgery

ODD = [0.0, -0.0, 1e-45, float("inf"), -1.5, 3.0e38]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_parameter_put_aside_comes_back_bit_for_bit_in_the_same_object(dtype: torch.dtype) -> None:
    model = nn.Linear(3, 2).to(dtype)
    model.weight.data = torch.tensor(ODD, dtype=dtype).reshape(2, 3)
    before, bits, place = model.weight, model.weight.detach().clone(), model.weight.data_ptr()
    surgery = Surgery(model)
    whole.put_aside(surgery, model.weight)
    assert model.weight.data_ptr() != place
    surgery.swap("weight", nn.Parameter(torch.zeros(2, 3, dtype=dtype)))
    surgery.undo()
    assert model.weight is before
    assert model.weight.device == bits.device
    assert torch.equal(_bits(model.weight), _bits(bits))


def _bits(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().view(torch.int32 if tensor.dtype == torch.float32 else torch.int16)


def test_on_the_cpu_the_originals_stay_where_they_are() -> None:
    model = nn.Linear(3, 2).requires_grad_(False)
    before, place = model.weight, model.weight.data_ptr()
    surgery = Surgery(model)
    whole.train_whole(surgery, ["weight"])
    assert before.data_ptr() == place
    surgery.undo()
    assert model.weight is before
    assert model.weight.data_ptr() == place


def test_on_another_device_each_original_is_put_aside_once_and_the_copy_trains_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    aside: list[torch.device] = []
    monkeypatch.setattr(whole, "put_aside", lambda surgery, parameter: aside.append(parameter.device))
    model = nn.Linear(3, 2, device="meta").requires_grad_(False)  # a device that holds no numbers
    trained = whole.train_whole(Surgery(model), ["weight", "bias", "weight"])
    assert [device.type for device in aside] == ["meta", "meta"]
    assert [p.device.type for p in trained.values()] == ["meta", "meta"]
