"""Keeping what was trained: a trained network in a file, and the state of a training that is to go on later.

Both are safetensors files: the tensors as they are, and everything else as JSON in the header. Reading one runs no code
(nothing is pickled). A file appears under its name when it is complete and on the disk; a crash leaves the one that was
there before.
"""

from __future__ import annotations

import json
import os
import uuid
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tunesmith import logging
from tunesmith.exceptions import InvalidTypeError, InvalidValueError, MissingDependencyError, NewerFormatError
from tunesmith.train import device as devices
from tunesmith.train import loop
from tunesmith.train.dataset import Dataset, IndexArray, absent_unless_known
from tunesmith.train.errors import DataDamagedError
from tunesmith.train.job import Part, Pool
from tunesmith.train.placing import place

if TYPE_CHECKING:
    from tunesmith.train.problem import Problem

#: Of both kinds of file.
FORMAT = 1
#: The header's key for everything that is no tensor.
_KEY = "tunesmith"

PathLike = str | os.PathLike[str]
#: Images as users have them: arrays, tensors, nested lists of numbers.
Images = NDArray[Any] | Tensor | Sequence[Any]

_logger = logging.get_logger("tunesmith.train")


@dataclass(frozen=True, eq=False)
class Trained:
    """A trained network, with all that is needed to use it and to train it again.

    ``train.load(path)`` reads back what :meth:`save` wrote.

    Attributes:
        network: (b, c, h, w) -> (b, classes) logits, in evaluation mode.
        problem: what it was trained for.
        params: its hyperparameters, those that the problem's space names.
        training_seed: of the training.
        metrics: on the training and the validation part, when it had been trained.
        history: the metrics after each epoch.
        input_shape: (channels, height, width) of an image.
        n_classes: how many.
        shift, scale: (c, 1, 1) float32; the network sees ``(images - shift) * scale``.
    """

    network: nn.Module
    problem: Problem
    params: dict[str, Any]
    training_seed: int
    metrics: dict[str, float]
    history: list[dict[str, float]]
    input_shape: tuple[int, int, int]
    n_classes: int
    shift: Tensor
    scale: Tensor

    def logits(self, images: Images) -> Tensor:
        """The network's output for raw images: (n, classes) float32 on the network's device.

        Args:
            images: (n, c, h, w), an array, a tensor or nested lists, with pixels as in the data set (0..255 if it has
                bytes, whatever type of number they have here); they are scaled as the training images were.

        Raises:
            InvalidTypeError: no real numbers.
            InvalidValueError: another shape, lists of different lengths, NaN or infinite pixels.
        """
        pixels = _pixels(images, self.input_shape)
        device = next((p.device for p in self.network.parameters()), torch.device("cpu"))
        n = len(pixels)
        if not n:
            return torch.empty(0, self.n_classes, device=device)
        pool = Pool("images", pixels.to(device), torch.zeros(n, dtype=torch.int64, device=device), self.n_classes)
        rows = torch.arange(n, device=device)
        part = Part(pool, rows, self.shift.to(device), self.scale.to(device))
        with devices.working(device, self.problem.threads):
            return loop.evaluate(self.network, part, self.problem.precision)

    def predict_proba(self, images: Images) -> NDArray[np.float32]:
        """The probability of each class, (n, classes); see :meth:`logits`."""
        return self.logits(images).softmax(1).cpu().numpy()

    def predict(self, images: Images) -> IndexArray:
        """The most probable class of each image, (n,); see :meth:`logits`."""
        return self.logits(images).argmax(1).cpu().numpy()

    def save(self, path: PathLike) -> None:
        """Write a file that :func:`load` reads.

        Args:
            path: of the file, e.g. ``"best.safetensors"``; one that is there is replaced.
        """
        header = {
            "kind": "network", "problem": self.problem.to_dict(), "params": self.params,
            "training_seed": self.training_seed, "metrics": self.metrics, "history": self.history,
            "input_shape": self.input_shape, "n_classes": self.n_classes,
        }  # fmt: skip
        tensors = {f"network.{name}": tensor for name, tensor in self.network.state_dict().items()}
        _replace(path, _packed(header, {**tensors, "shift": self.shift, "scale": self.scale}))

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value:.4g}" for name, value in self.metrics.items())
        data = getattr(self.problem.data, "name", self.problem.data)
        return f"Trained({self.problem.family.name!r} on {str(data)!r}, {self.params!r}: {shown})"


def _pixels(images: Images, shape: tuple[int, int, int]) -> Tensor:
    """Raw images as a tensor of bytes or float32."""
    if isinstance(images, Tensor):
        if images.is_complex() or images.dtype == torch.bool:
            raise InvalidTypeError(f"Images must be real numbers, not {images.dtype}.")
        pixels = images.detach()
    else:
        try:
            array = np.array(images)
        except ValueError:  # numpy's word for it is "inhomogeneous"
            raise InvalidValueError("Images must have the same shape, but these lists have different ones.") from None
        if array.dtype.kind not in "fiu" and array.size:
            raise InvalidTypeError(f"Images must be real numbers, not {array.dtype}.")
        with np.errstate(over="ignore"):  # what is too large is found below
            pixels = torch.from_numpy(array if array.dtype == np.uint8 else array.astype(np.float32))
    if pixels.ndim != 4 or tuple(pixels.shape[1:]) != shape:
        raise InvalidValueError(f"Images must be (n, {', '.join(map(str, shape))}), not {tuple(pixels.shape)}.")
    if pixels.dtype != torch.uint8:
        pixels = pixels.float()
        if bad := int((~pixels.isfinite()).flatten(1).any(1).sum()):
            raise InvalidValueError(f"{bad} of {len(pixels)} images hold NaN or infinite pixels; repair or drop them.")
    return pixels


def load(
    path: PathLike,
    *,
    model: Callable[..., nn.Module] | None = None,
    data: Dataset | None = None,
    device: str | None = None,
    precision: str | None = None,
) -> Trained:
    """Read what :meth:`Trained.save` wrote. The data set is not needed; ``problem`` of what comes back can be trained
    again only where it is at hand.

    Args:
        path: of the file.
        model: the factory, if the network was made by one of your own; its code is not in the file.
        data: the data set, if it was one of your own and the network is to be trained again.
        device: where to compute, instead of where it was trained.
        precision: to compute with. None takes that of the training; where the device does not have it (float16 without
            CUDA), "float32", with a warning.

    Raises:
        FileNotFoundError: no such file.
        DataDamagedError: not such a file, or damaged.
        InvalidValueError: a factory is needed, or is not the one that made the network; a device that is not here, or a
            precision that it does not have.
    """
    from tunesmith.train import planning

    header, tensors = _unpacked(Path(path).read_bytes(), path, "network")
    shape = _check_network(header, tensors, os.fspath(path))
    try:
        problem = _problem_of(header["problem"], model, data, device, precision)
        network = planning.build(problem, header["params"], shape, header["n_classes"], 0)
    except (InvalidTypeError, InvalidValueError) as error:
        raise type(error)(f"{os.fspath(path)}: {error}") from None
    weights = {name.removeprefix("network."): t for name, t in tensors.items() if name.startswith("network.")}
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise InvalidValueError(f"The weights in {os.fspath(path)} do not fit the network: {error}") from None
    where = devices.choose(problem.device)
    place(network, where, shape).eval()  # as while it was trained, so that predictions have the same bits
    return Trained(
        network, problem, header["params"], header["training_seed"], header["metrics"], header["history"], shape,
        header["n_classes"], tensors["shift"], tensors["scale"],
    )  # fmt: skip


def _check_network(header: Mapping[str, Any], tensors: Mapping[str, Tensor], name: str) -> tuple[int, int, int]:
    """The shape of an image, when the file says all that :meth:`Trained.save` writes."""
    wanted = {
        "problem": dict, "params": dict, "training_seed": int, "metrics": dict, "history": list, "input_shape": list,
        "n_classes": int,
    }  # fmt: skip
    wrong = [key for key, kind in wanted.items() if not isinstance(header.get(key), kind)]
    shape = header["input_shape"] if "input_shape" not in wrong else []
    if not wrong and (len(shape) != 3 or not all(isinstance(n, int) and n > 0 for n in shape)):
        wrong.append("input_shape")
    if not wrong:
        wrong = [key for key in ("shift", "scale") if key not in tensors or tensors[key].shape != (shape[0], 1, 1)]
    if wrong:
        raise DataDamagedError(
            f"{name} lacks {', '.join(wrong)}, or has something impossible there: it is damaged, or tunesmith has not "
            "written it. Train the network again, or get the file once more from where it was saved."
        )
    return shape[0], shape[1], shape[2]


def _problem_of(
    fields: Mapping[str, Any], model: Any, data: Dataset | None, device: str | None, precision: str | None
) -> Problem:
    """The problem of a file, on a device that is here, even if its data set is not."""
    from tunesmith.train.problem import Problem

    own = dict(fields)
    own["device"], own["precision"] = device or own.get("device", "auto"), precision or own.get("precision", "float32")
    try:
        where = devices.choose(own["device"])
    except InvalidValueError as error:
        raise error if device else InvalidValueError(f"{error} Choose one by train.load(path, device='cpu').") from None
    try:
        devices.check_precision(own["precision"], where)
    except InvalidValueError as error:
        if precision or own["precision"] not in devices.PRECISIONS:
            raise
        _logger.warning("%s Predictions are computed in float32.", error)
        own["precision"] = "float32"
    if data is None and isinstance(own.get("data"), str):
        axis = (own.get("space") or {}).get("parameters", {}).get("data", {}).get("choices", ())
        own["data"] = absent_unless_known(own["data"], axis)
    return Problem.from_dict(own, model=model, data=data)


# -- the state of a training -------------------------------------------------------------------------------------------


def save_state(state: Mapping[str, Any], path: PathLike) -> None:
    """Write the state of a training, ``Training.state()``, so that :func:`load_state` gives it back bit by bit.

    Args:
        state: nested dictionaries, lists and tuples of tensors, numbers, texts, truth values and None.
        path: of the file; one that is there is replaced.

    Raises:
        InvalidTypeError: it holds something else.
    """
    _replace(path, state_to_bytes(state))


def load_state(path: PathLike) -> dict[str, Any]:
    """What :func:`save_state` wrote; tensors are on the CPU.

    Raises:
        FileNotFoundError: no such file.
        DataDamagedError: not such a file, or damaged.
    """
    return state_from_bytes(Path(path).read_bytes(), path)


def state_to_bytes(state: Mapping[str, Any]) -> bytes:
    """What :func:`save_state` writes."""
    tensors: dict[str, Tensor] = {}
    return _packed({"kind": "state", "state": _plain(state, tensors)}, tensors)


def state_from_bytes(content: bytes, source: PathLike = "these bytes") -> dict[str, Any]:
    """Inverse of :func:`state_to_bytes`; ``source`` is what errors call them."""
    header, tensors = _unpacked(content, source, "state")
    try:
        state = _nested(header["state"], tensors)
    except (KeyError, ValueError, TypeError, RecursionError):
        state = None
    if not isinstance(state, dict):
        raise DataDamagedError(f"{os.fspath(source)} holds no state of a training.")
    return state


def _plain(value: Any, tensors: dict[str, Tensor]) -> Any:
    """A JSON-able form; tensors are put aside under a number."""
    if isinstance(value, Tensor):
        tensors[str(len(tensors))] = value
        return {"tensor": str(len(tensors) - 1)}
    if isinstance(value, Mapping):
        if wrong := [key for key in value if not isinstance(key, (str, int)) or isinstance(key, bool)]:
            raise InvalidTypeError(f"The keys of a state must be texts or integers, not {wrong[0]!r}.")
        return {"dict": [[key, _plain(entry, tensors)] for key, entry in value.items()]}
    if isinstance(value, (list, tuple)):
        return {type(value).__name__: [_plain(entry, tensors) for entry in value]}
    if value is None or type(value) in (bool, int, float, str):
        return value
    raise InvalidTypeError(f"A state holds tensors, numbers, texts and containers of them, not {value!r}.")


def _nested(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "dict":
        return {key: _nested(entry, tensors) for key, entry in content}
    entries = [_nested(entry, tensors) for entry in content]
    return tuple(entries) if kind == "tuple" else entries


# -- files -------------------------------------------------------------------------------------------------------------


def _packed(header: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> bytes:
    safetensors = _safetensors()
    own = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}  # none share memory
    text = json.dumps({"format": FORMAT, **header, "crc": _checksum(header, own)})
    return safetensors.save(own, metadata={_KEY: text})  # type: ignore[no-any-return]


def _unpacked(content: bytes, source: PathLike, kind: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    safetensors = _safetensors()
    name = os.fspath(source)
    try:
        length = int.from_bytes(content[:8], "little")
        header = json.loads(json.loads(content[8 : 8 + length])["__metadata__"][_KEY])
        found = int(header["format"]), str(header["kind"])
        reader = _READERS.get(found[1])
        if reader is None and found[0] <= FORMAT:
            raise ValueError(found[1])
    except (ValueError, KeyError, TypeError, RecursionError):
        raise DataDamagedError(f"{name} is not a file that tunesmith.train has written, or it is damaged.") from None
    if found[0] > FORMAT:
        raise NewerFormatError(f"{name} was written by a newer tunesmith (format {found[0]}); this one knows {FORMAT}.")
    if found[1] != kind:
        raise InvalidValueError(f"{name} holds a {found[1]}, not a {kind}; read it with {reader}.")
    try:
        tensors = safetensors.load(content)
    except Exception as error:  # SafetensorError is not exported by all versions
        raise DataDamagedError(f"{name} is damaged: {error}") from None
    crc = header.pop("crc", None)  # files of earlier versions have none
    del header["format"]
    if crc is not None and crc != _checksum(header, tensors):
        raise DataDamagedError(f"{name} is damaged: its checksum is wrong.")
    return header, tensors


def _checksum(header: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> int:
    """Of what is read back, so that also a changed name, shape or type is noticed."""
    return zlib.crc32(_safetensors().save(dict(tensors)), zlib.crc32(json.dumps(header).encode()))


_READERS = {"network": "tunesmith.train.load(path)", "state": "tunesmith.train.saving.load_state(path)"}


def _safetensors() -> Any:
    try:
        import safetensors.torch
    except ImportError:
        raise MissingDependencyError(
            "Networks are kept as safetensors, which is not installed: pip install 'tunesmith[train]'."
        ) from None
    return safetensors.torch


def _replace(path: PathLike, content: bytes) -> None:
    """Write a file that is there completely or, after a crash, not at all."""
    target = Path(path).absolute()
    part = target.with_name(f".{target.name}.{uuid.uuid4().hex}.part")
    try:
        with open(part, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    if os.name == "posix":  # the new name is on the disk when the folder is
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
