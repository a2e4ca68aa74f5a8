"""``tunesmith model``: the layer table of a network."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from tunesmith.cli import inputs, options, output
from tunesmith.exceptions import CLIUsageError


def model(
    name: Annotated[str, typer.Argument(metavar="MODEL", help="A model family, e.g. lenet5 or cnn.")],
    data: Annotated[
        str | None, typer.Option("--data", metavar="NAME", help="Whose images it takes. Default: fashion-mnist-small.")
    ] = None,
    input: Annotated[
        str | None, typer.Option("--input", metavar="CxHxW", help="Instead: the shape of one image, e.g. 3x32x32.")
    ] = None,
    classes: Annotated[
        int,
        options.count("--classes", low=2, help="With --input: how many classes."),
    ] = 10,
    param: options.Assignments = None,
    format: options.AsTable = options.TableFormat.table,
) -> None:
    """Show a network's layers, parameters and megabytes."""
    from tunesmith.train import build_model, load_dataset, summary

    if data is not None and input is not None:
        raise CLIUsageError("Give either --data or --input, not both.")
    if input is not None:
        shape, n_classes = _shape(input), classes
    else:
        loaded = load_dataset(data or "fashion-mnist-small")
        shape, n_classes = loaded.shape, loaded.n_classes
    network = build_model(name, inputs.parse_assignments(param or [], {}), shape, n_classes, 0)
    found = summary(network, shape)
    if format is options.TableFormat.json:
        output.print_json(found.to_dict())
    else:
        output.raw(f"{name} for images of {'x'.join(map(str, shape))} and {n_classes} classes\n\n{found}\n")


def _shape(text: str) -> tuple[int, int, int]:
    match = re.fullmatch(r"(\d{1,5})[x×](\d{1,5})[x×](\d{1,5})", text.strip().lower())
    if match is None or "0" in match.groups():
        raise CLIUsageError(f"--input takes channels x height x width, such as 1x28x28 or 3x32x32, not {text!r}.")
    channels, height, width = (int(group) for group in match.groups())
    return channels, height, width
