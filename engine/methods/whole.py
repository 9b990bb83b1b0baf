"""Parameters of the base that are trained themselves, or replaced by trained ones, with the originals kept aside.

The one way in which biases, norms, blocks, heads and whole models are trained. A parameter that stands in two places
(tied embeddings) stays one. Knows nothing about which parameters a method wants.
"""

from collections.abc import Iterable, Mapping

from torch import Tensor, nn

from engine.methods.inject import Surgery, places_of


def train_whole(surgery: Surgery, paths: Iterable[str]) -> dict[str, nn.Parameter]:
    """Put a trainable copy in the place of each parameter; {path: copy}. The originals come back with the surgery."""
    trained: dict[str, nn.Parameter] = {}
    for path in paths:
        before = surgery.model.get_parameter(path)
        if before.requires_grad:  # reached already, by the other name of a tie
            continue
        trained[path] = nn.Parameter(before.detach().clone())
        if before.device.type != "cpu":
            put_aside(surgery, before)
        surgery.swap(path, trained[path])
    return trained


def put_aside(surgery: Surgery, parameter: nn.Parameter) -> None:
    """Keep the numbers of a parameter on the CPU until `surgery` is undone.

    On a GPU nobody needs them meanwhile, and the optimizer can use the room. The object stays the same.
    """
    device = parameter.device
    parameter.data = parameter.data.to("cpu", copy=True)
    surgery.then(lambda: setattr(parameter, "data", parameter.data.to(device, copy=True)))


def replace_whole(surgery: Surgery, values: Mapping[str, Tensor], tied: bool) -> None:
    """Put `values` in the places of the parameters they are named after, frozen; `tied` keeps ties."""
    for path, value in values.items():
        before = surgery.model.get_parameter(path)
        surgery.swap(path, nn.Parameter(value.to(before.device, before.dtype), requires_grad=False), tied)


def parameters_of(model: nn.Module, modules: Iterable[str]) -> list[str]:
    """The paths of the parameters that the modules at these paths hold themselves."""
    return [
        f"{path}.{name}" if path else name
        for path in modules
        for name, _ in model.get_submodule(path).named_parameters(recurse=False)
    ]


def is_tied(model: nn.Module, modules: Iterable[str]) -> bool:
    """Whether one of the modules at these paths shares a parameter with another module."""
    return any(len(places_of(model, model.get_parameter(path))) > 1 for path in parameters_of(model, modules))


def with_twins(model: nn.Module, modules: Iterable[str]) -> list[str]:
    """The modules at these paths and those that share a parameter with one of them."""
    places = [place for path in parameters_of(model, modules) for place in places_of(model, model.get_parameter(path))]
    return list(dict.fromkeys(place.rpartition(".")[0] for place in places))
