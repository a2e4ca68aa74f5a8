"""A table of a network's layers: output shapes, parameters, memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tunesmith.exceptions import InvalidTypeError, InvalidValueError

if TYPE_CHECKING:
    from rich.table import Table
    from torch import nn

_MEGABYTE = 2**20


@dataclass(frozen=True)
class LayerRow:
    """One layer.

    Attributes:
        name: where it is in the network, e.g. ``"C1"`` or ``"blocks.0.norm"``.
        kind: its class, e.g. ``"Conv2d"``.
        output_shape: for a batch of one, without the batch: e.g. (6, 28, 28); of several outputs (a recurrent layer's)
            the first; () when that is no tensor.
        parameters: its own; 0 in a later row of a layer that is used more than once.
    """

    name: str
    kind: str
    output_shape: tuple[int, ...]
    parameters: int


@dataclass(frozen=True)
class ModelSummary:
    """What :func:`summary` found. ``print(summary)`` shows a table, and so does rich.

    Attributes:
        rows: the layers in the order in which they run.
        input_shape: (channels, height, width).
        parameters, trainable: numbers of parameters; one that is used twice counts once.
        input_mb, parameters_mb: MB (2**20 bytes) of one input and of the parameters.
        activations_mb: MB that one image's layer outputs and their gradients take in training: an estimate, twice the
            outputs of all rows; what autograd frees early or keeps besides is not known to it.
    """

    rows: tuple[LayerRow, ...]
    input_shape: tuple[int, ...]
    parameters: int
    trainable: int
    input_mb: float
    parameters_mb: float
    activations_mb: float

    @property
    def total_mb(self) -> float:
        """All three together."""
        return self.input_mb + self.parameters_mb + self.activations_mb

    def to_dict(self) -> dict[str, Any]:
        """A JSON-able form."""
        fields = {key: value for key, value in vars(self).items() if key != "rows"}
        return {**fields, "total_mb": self.total_mb, "rows": [dict(vars(row)) for row in self.rows]}

    def totals(self) -> list[str]:
        """The lines under the table."""
        return [
            f"Parameters: {self.parameters:,} ({self.trainable:,} trainable)",
            f"MB: {self.parameters_mb:.2f} parameters, {self.input_mb:.2f} input, "
            f"{self.activations_mb:.2f} activations forward and backward, {self.total_mb:.2f} in all (one image)",
        ]

    def _cells(self) -> list[tuple[str, str, str, str]]:
        return [(row.name, row.kind, _times(row.output_shape), f"{row.parameters:,}") for row in self.rows]

    def __str__(self) -> str:
        head = ("Layer", "Type", "Output", "Parameters")
        body = [head, *self._cells()]
        widths = [max(len(line[j]) for line in body) for j in range(4)]
        lines = [
            "  ".join([*(cell.ljust(width) for cell, width in zip(line[:3], widths, strict=False))])
            + f"  {line[3]:>{widths[3]}}"
            for line in body
        ]
        rule = "-" * len(lines[0])
        return "\n".join([lines[0], rule, *lines[1:], rule, *self.totals()])

    def __rich__(self) -> Table:
        from rich.table import Table

        table = Table(
            title=f"Input {_times(self.input_shape)}", caption="\n".join(self.totals()), caption_justify="left"
        )
        for name, justify in (("Layer", "left"), ("Type", "left"), ("Output", "left"), ("Parameters", "right")):
            table.add_column(name, justify=justify)  # type: ignore[arg-type]
        for cells in self._cells():
            table.add_row(*cells)
        return table


def _times(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape)) or "-"


def summary(module: nn.Module, input_shape: Sequence[int]) -> ModelSummary:
    """Run one image of zeros through a network, on the CPU, and note what each layer gives.

    A row is a layer without sub-layers, or one that has parameters of its own. The network is left as it was: its
    mode, its device and its hooks.

    Args:
        module: the network.
        input_shape: (channels, height, width) of one image, without the batch.

    Raises:
        InvalidTypeError: ``module`` is no torch module.
        InvalidValueError: the network cannot take such an input.
    """
    import torch
    from torch import nn

    if not isinstance(module, nn.Module):
        raise InvalidTypeError(f"summary() needs a torch.nn.Module, not {type(module).__name__}.")
    shape = tuple(int(side) for side in input_shape)
    rows: list[LayerRow] = []
    elements = 0
    seen: set[int] = set()

    def note(name: str, layer: nn.Module, output: Any) -> None:
        nonlocal elements
        own = [p for p in layer.parameters(recurse=False) if id(p) not in seen]
        seen.update(id(p) for p in own)
        output = output[0] if isinstance(output, (tuple, list)) and output else output
        size = tuple(output.shape[1:]) if isinstance(output, torch.Tensor) else ()
        elements += output.numel() if isinstance(output, torch.Tensor) else 0
        rows.append(LayerRow(name, type(layer).__name__, size, sum(p.numel() for p in own)))

    with _unchanged(module):
        hooks = []
        for name, layer in module.named_modules():
            if not any(True for _ in layer.children()) or any(True for _ in layer.parameters(recurse=False)):
                hook = _noter(note, name or type(layer).__name__)
                hooks.append(layer.register_forward_hook(hook))
        try:
            with torch.no_grad():
                module(torch.zeros(1, *shape))
        except RuntimeError as error:
            raise InvalidValueError(f"The network cannot take an input of {_times(shape)}: {error}") from None
        finally:
            for handle in hooks:
                handle.remove()
    parameters = list(module.parameters())
    return ModelSummary(
        rows=tuple(rows),
        input_shape=shape,
        parameters=sum(p.numel() for p in parameters),
        trainable=sum(p.numel() for p in parameters if p.requires_grad),
        input_mb=4 * torch.Size(shape).numel() / _MEGABYTE,
        parameters_mb=sum(p.numel() * p.element_size() for p in parameters) / _MEGABYTE,
        activations_mb=2 * 4 * elements / _MEGABYTE,
    )


def _noter(note: Any, name: str) -> Any:
    return lambda layer, _, output: note(name, layer, output)


class _unchanged:
    """On the CPU and in evaluation mode inside, as before outside."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module

    def __enter__(self) -> None:
        self.training = [(layer, layer.training) for layer in self.module.modules()]
        first = next(self.module.parameters(), None)
        self.device = None if first is None else first.device
        self.module.cpu().eval()

    def __exit__(self, *_: object) -> None:
        if self.device is not None:
            self.module.to(self.device)
        for layer, training in self.training:
            layer.training = training
