"""States as bytes: they come back bit by bit, nothing else is taken, and damage is found."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections import OrderedDict, namedtuple
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open

from tunesmith.artifacts import StateDamagedError, pack, packing, unpack
from tunesmith.exceptions import InvalidTypeError, InvalidValueError, MissingDependencyError, NewerFormatError

torch = pytest.importorskip("torch")
ABOUT = {"study": "a", "trial": 3}


def round_trip(state: Any) -> Any:
    about, found = unpack(pack(state, ABOUT), "this")
    assert about == ABOUT
    return found


plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=5)
keys = st.text(max_size=3) | st.integers(-(2**70), 2**70)
nested = st.recursive(
    plain,
    lambda s: st.lists(s, max_size=3) | st.lists(s, max_size=3).map(tuple) | st.dictionaries(keys, s, max_size=3),
    max_leaves=12,
)


@given(nested)
@settings(max_examples=100, deadline=None)
def test_plain_values_come_back_with_their_types(state: Any) -> None:
    assert repr(round_trip(state)) == repr(state)  # also tells 1 from True and 1.0, -0.0 from 0.0, tuple from list


@pytest.mark.parametrize("kind", ["?", *"bhilqBHILQefdF", ">f4"])
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0, 3), (2, 3)])
def test_arrays(kind: str, shape: tuple[int, ...]) -> None:
    array = np.random.default_rng(0).integers(0, 2, shape).astype(kind)
    found = round_trip({"a": [array]})["a"][0]
    assert type(found) is np.ndarray
    assert (found.dtype, found.shape) == (array.dtype.newbyteorder("="), array.shape)
    assert np.array_equal(found, array)
    found[...] = 1  # it is the caller's own


def test_views_and_scalars() -> None:
    base = np.arange(12.0).reshape(3, 4)
    state = {"t": base.T, "s": base[::2, ::-1], "f": np.float32(0.1), "b": np.bool_(True), "d": np.float64(0.1)}
    found = round_trip(state)
    for name, value in state.items():
        assert np.array_equal(found[name], value)
        assert type(found[name]) is type(value)


def test_a_state_is_taken_as_it_is_now() -> None:
    array, tensor = np.zeros(2), torch.zeros(2)
    content = pack([array, tensor], ABOUT)
    array += 1
    tensor += 1
    found = unpack(content, "this")[1]
    assert found[0].tolist() == [0, 0]
    assert found[1].tolist() == [0, 0]


@pytest.mark.parametrize(
    "dtype",
    [
        torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.float16, torch.bfloat16,
        torch.float32, torch.float64, torch.complex64, torch.float8_e4m3fn, torch.float8_e5m2, torch.uint16,
    ],
)  # fmt: skip
@pytest.mark.parametrize("shape", [(), (0,), (2, 3)])
def test_tensors(dtype: Any, shape: tuple[int, ...]) -> None:
    tensor = (torch.rand(shape) * 3).to(dtype)
    found = round_trip({0: tensor})[0]
    assert (found.dtype, found.shape) == (tensor.dtype, tensor.shape)
    assert found.reshape(-1).view(torch.uint8).equal(tensor.reshape(-1).view(torch.uint8))


def test_tensors_in_odd_ways() -> None:
    base = torch.arange(6.0).reshape(2, 3)
    state = [base.T, base[:, ::2], torch.nn.Parameter(base), torch.complex(base, base).conj(), base]
    for found, tensor in zip(round_trip(state), state, strict=True):
        assert found.equal(tensor.detach().resolve_conj())
        assert not found.requires_grad


def test_networks_optimizers_schedules_and_generators() -> None:
    """What a training consists of goes on with the same bits."""

    def made() -> tuple[Any, Any, Any]:
        network = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 1))
        optimizer = torch.optim.AdamW([{"params": network[0].parameters()}, {"params": network[2].parameters()}])
        return network, optimizer, torch.optim.lr_scheduler.StepLR(optimizer, 2)

    def train(network: Any, optimizer: Any, schedule: Any, rng: np.random.Generator, steps: int) -> None:
        for _ in range(steps):
            optimizer.zero_grad()
            network(torch.from_numpy(rng.normal(size=(5, 3)).astype(np.float32))).square().mean().backward()
            optimizer.step()
            schedule.step()

    torch.manual_seed(0)
    parts, rng, plain_rng = made(), np.random.default_rng(0), random.Random(0)
    train(*parts, rng, 3)
    state = {
        "parts": [part.state_dict() for part in parts], "rng": rng.bit_generator.state, "random": plain_rng.getstate(),
        "torch": torch.get_rng_state(),
    }  # fmt: skip
    content = pack(state, ABOUT)
    train(*parts, rng, 3)

    found = unpack(content, "this")[1]
    others, other_rng = made(), np.random.default_rng(5)
    for part, kept in zip(others, found["parts"], strict=True):
        part.load_state_dict(kept)
    other_rng.bit_generator.state = found["rng"]
    train(*others, other_rng, 3)
    assert all(a.equal(b) for a, b in zip(parts[0].state_dict().values(), others[0].state_dict().values(), strict=True))
    assert found["random"] == plain_rng.getstate()
    assert found["torch"].equal(state["torch"])


Point = namedtuple("Point", "x y")


@pytest.mark.parametrize(
    ("state", "where", "kind"),
    [
        ({"net": [1, {3: object()}]}, "state['net'][1][3]", "object"),
        (lambda: 0, "state", "function"),
        ({"a": {1.5: 2}}, "a key of state['a'], 1.5,", "float"),
        ({True: 2}, "a key of state, True,", "bool"),
        ((b"x",), "state[0]", "bytes"),
        ({"s": {1, 2}}, "state['s']", "set"),
        ([Point(1, 2)], "state[0]", "Point"),
        ([1j], "state[0]", "complex"),
        (np.array(["a"]), "state", "elements of type <U1"),
        (np.array([object()]), "state", "elements of type object"),
        (np.zeros(2, np.complex128), "state", "complex128"),
        (np.ma.masked_array([1, 2], [True, False]), "state", "MaskedArray"),
        (torch.eye(2).to_sparse(), "state", "without plain dense values"),
        (torch.zeros(2, device="meta"), "state", "without plain dense values"),
        (torch.nn.Linear(1, 1), "state", "Linear"),
    ],
)
def test_anything_else_is_refused_with_its_place(state: Any, where: str, kind: str) -> None:
    with pytest.raises(InvalidTypeError) as caught:
        pack(state, ABOUT)
    assert f"{where} is of type" in str(caught.value)
    assert kind in str(caught.value)


def test_a_state_that_contains_itself() -> None:
    state: list[Any] = []
    state.append(state)
    with pytest.raises(InvalidValueError, match="contains itself"):
        pack(state, ABOUT)


def test_dictionaries_of_other_classes_are_dictionaries() -> None:
    assert round_trip(OrderedDict(b=1, a=2)) == {"b": 1, "a": 2}


def test_it_is_a_safetensors_file(tmp_path: Any) -> None:
    (tmp_path / "s").write_bytes(pack({"a": np.arange(3), "b": torch.ones(2, dtype=torch.bfloat16)}, ABOUT))
    with safe_open(tmp_path / "s", "np") as file:
        assert sorted(file.keys()) == ["0", "1"]
        assert file.get_tensor("0").tolist() == [0, 1, 2]
        assert json.loads(file.metadata()["tunesmith"])["about"] == ABOUT


def test_every_flipped_bit_and_every_cut_is_noticed() -> None:
    content = pack({"a": np.arange(3, dtype=np.int16), "b": 1.5}, ABOUT)
    for i in range(len(content)):
        broken = bytearray(content)
        broken[i] ^= 1 << (i % 8)
        try:
            about, state = unpack(bytes(broken), "this")
        except (StateDamagedError, NewerFormatError):
            continue
        assert about != ABOUT or repr(state) == "{'a': array([0, 1, 2], dtype=int16), 'b': 1.5}"
    for end in range(0, len(content), 7):
        with pytest.raises(StateDamagedError, match="this is"):
            unpack(content[:end], "this")


def test_a_newer_format_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "FORMAT", 2)
    content = pack(1, ABOUT)
    monkeypatch.undo()
    with pytest.raises(NewerFormatError, match="format 2"):
        unpack(content, "this")


def test_without_safetensors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    with pytest.raises(MissingDependencyError, match="pip install safetensors"):
        pack(1, ABOUT)


def test_without_torch_tensors_are_missed_and_not_taken_for_damage(monkeypatch: pytest.MonkeyPatch) -> None:
    content = pack([torch.ones(1)], ABOUT)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingDependencyError, match="PyTorch"):
        unpack(content, "this")


def test_arrays_alone_do_not_import_torch() -> None:
    code = (
        "import sys, numpy as np; from tunesmith.artifacts import pack, unpack\n"
        "unpack(pack({'a': np.ones(2)}, {}), 'this'); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
