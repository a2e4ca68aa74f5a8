"""Devices by name, precisions, and the global settings that are put back."""

from __future__ import annotations

import pytest
import torch

from tunesmith.exceptions import InvalidTypeError, InvalidValueError
from tunesmith.train import device

CPU = torch.device("cpu")


def test_devices() -> None:
    assert device.choose("cpu") == CPU
    assert device.choose("auto").type in {"cpu", "cuda", "mps"}
    with pytest.raises(InvalidValueError, match="no device 'tpu' on this machine; there are: auto, cpu"):
        device.choose("tpu")
    with pytest.raises(InvalidValueError, match="cuda:99"):
        device.choose("cuda:99")
    with pytest.raises(InvalidTypeError, match="named by a string"):
        device.choose(0)  # type: ignore[arg-type]


def test_cudnn_settings_are_held_while_anyone_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    cuda = torch.device("cuda")  # only named, nothing is computed there
    with device.working(cuda, None):
        with device.working(cuda, None):
            assert torch.backends.cudnn.deterministic
        assert torch.backends.cudnn.deterministic
        assert not torch.backends.cudnn.benchmark
    assert not torch.backends.cudnn.deterministic
    assert torch.backends.cudnn.benchmark


def test_precisions() -> None:
    for name in device.PRECISIONS:
        device.check_precision(name, torch.device("cuda"))
    device.check_precision("bfloat16", CPU)
    with pytest.raises(InvalidValueError, match=r"float16 needs CUDA.*on 'cpu' use 'bfloat16' or 'float32'"):
        device.check_precision("float16", CPU)
    with pytest.raises(InvalidValueError, match="Unknown precision 'float64'; known: float32, bfloat16, float16"):
        device.check_precision("float64", CPU)


def test_threads_are_restored_after_an_error() -> None:
    threads = torch.get_num_threads()

    def fail() -> None:
        with device.working(CPU, threads + 1):
            assert torch.get_num_threads() == threads + 1
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert torch.get_num_threads() == threads
