"""Models that a user hands in: functions, classes, objects; repeatable, and the global random numbers untouched."""

from __future__ import annotations

import functools
import importlib.util
import pickle
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import nn

from tunesmith.distributions import IntDistribution
from tunesmith.exceptions import InvalidTypeError, InvalidValueError
from tunesmith.space import Space
from tunesmith.train import counter, layers, user_models
from tunesmith.train.errors import InvalidArchitectureError
from tunesmith.train.model_families import build_model, family, family_of, find_model

SHAPE = (1, 6, 6)


def net(input_shape: tuple[int, int, int], n_classes: int, width: int = 8, p: float = 0.5) -> nn.Module:
    pixels = input_shape[0] * input_shape[1] * input_shape[2]
    return nn.Sequential(nn.Flatten(), nn.Linear(pixels, width), nn.ReLU(), nn.Dropout(p), nn.Linear(width, n_classes))


class Net(nn.Module):
    """Draws weights in __init__ and, being lazy, at the first call; its forward is no sequence."""

    def __init__(self, n_classes: int, width: int = 4, bias: bool = True) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.randn(1))
        self.first, self.last = nn.LazyLinear(width, bias=bias), nn.Linear(width, n_classes)
        self.drop = nn.Dropout(0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.drop(self.first(x.flatten(1)).tanh()) * self.scale)


class Object:
    """An object like a family's file, with a space for all sizes."""

    DEFAULTS: ClassVar[dict[str, Any]] = {"width": 3}
    MEANINGS: ClassVar[dict[str, str]] = {"width": "of it"}
    space: ClassVar[Space] = Space({"width": IntDistribution(1, 5)})

    def build(self, configuration: Any, input_shape: tuple[int, int, int], n_classes: int, seed: int) -> nn.Module:
        return net(input_shape, n_classes, **configuration)


USERS: list[Any] = [net, Net, Object(), functools.partial(net, width=5), lambda n_classes: Net(n_classes)]


@pytest.mark.parametrize("model", USERS)
def test_a_network_depends_on_the_seed_alone(model: Any) -> None:
    x = torch.rand(16, *SHAPE, generator=torch.Generator().manual_seed(0))
    state = torch.get_rng_state()
    first = build_model(model, {}, SHAPE, 3, 5)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(99)
    same, other = build_model(model, {}, SHAPE, 3, 5), build_model(model, {}, SHAPE, 3, 6)
    torch.set_rng_state(state)
    assert first.training
    assert all(layer.training for layer in first.modules())
    assert torch.equal(first(x), same(x))  # the dropout masks too
    assert not torch.equal(first.eval()(x), other.eval()(x))
    assert torch.equal(torch.get_rng_state(), state)
    assert [layer.key for layer in layers.dropouts(first)] == [counter.key(5, 0)]
    assert not any(type(layer) is nn.Dropout for layer in first.modules())


def test_hyperparameters_are_the_arguments() -> None:
    assert family_of(net).DEFAULTS == {"width": 8, "p": 0.5}
    assert family_of(Net).DEFAULTS == {"width": 4, "bias": True}
    assert family_of(functools.partial(net, width=5)).DEFAULTS == {"width": 5, "p": 0.5}
    assert family_of(USERS[-1]).DEFAULTS == {}
    assert [family_of(user).name for user in USERS] == ["net", "Net", "Object", "net", "lambda"]
    network: Any = build_model(net, {"width": 11, "p": 0.25}, SHAPE, 3, 0)
    assert network[1].out_features == 11
    assert network[3].p == 0.25
    with pytest.raises(InvalidValueError, match=r"'net' has no hyperparameter \['depth'\]; it has: \['p', 'width'\]"):
        build_model(net, {"depth": 1}, SHAPE, 3, 0)


def test_a_factory_may_want_the_seed() -> None:
    seeds = []

    def make(seed: int, n_classes: int, **others: Any) -> nn.Module:
        seeds.append((seed, others))
        return Net(n_classes)

    build_model(make, {}, SHAPE, 3, 17)
    assert seeds == [(17, {})]
    assert family_of(make).DEFAULTS == {}


def test_threads_do_not_disturb_each_other() -> None:
    expected = [build_model(net, {}, SHAPE, 3, seed)[1].weight for seed in range(8)]  # type: ignore[index]
    found: dict[int, Any] = {}

    def work(seed: int) -> None:
        found[seed] = build_model(net, {}, SHAPE, 3, seed)[1].weight  # type: ignore[index]

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(torch.equal(expected[seed], found[seed]) for seed in range(8))


# -- spaces, names, identity -------------------------------------------------------------------------------------


def test_spaces() -> None:
    width = Space({"width": IntDistribution(1, 5)})
    assert family_of(net).space("all") == Space()
    known = family(net, space=width, name="mine", meanings={"width": "units"})
    assert (known.name, known.MEANINGS) == ("mine", {"width": "units"})
    assert all(known.space(size) == width for size in ("small", "medium", "all"))
    assert family_of(Object()).space("small") == width
    assert family_of(Object()).MEANINGS == {"width": "of it"}
    sized = family(net, space=lambda size: width if size == "all" else Space())
    assert (len(sized.space("small")), len(sized.space("all"))) == (0, 1)
    assert family(net, space={"width": {"type": "int", "low": 1, "high": 5}}).space("small") == width
    with pytest.raises(InvalidValueError, match="'huge'; known: small, medium, all"):
        known.space("huge")
    with pytest.raises(InvalidValueError, match=r"parameters \['depth'\] that it does not take; .*'width'"):
        family(net, space={"depth": IntDistribution(1, 2)}).space("all")
    with pytest.raises(InvalidTypeError, match="must return a Space"):
        family(net, space=lambda size: None).space("all")  # type: ignore[arg-type, return-value]


def test_a_family_is_a_value() -> None:
    assert family_of("cnn") == find_model("cnn") == family_of(find_model("cnn"))
    assert family_of("cnn") != family_of("mlp")
    assert (family_of(net), hash(family_of(net))) == (family_of(net), hash(family_of(net)))
    others = [net, Net, Object(), functools.partial(net, width=5), family(net, name="other")]
    others += [family(net, space={"width": IntDistribution(1, 5)}), family(net, space={"width": IntDistribution(1, 6)})]
    assert len({family_of(other) for other in others}) == len(others)
    assert repr(family_of("cnn")) == "Family('cnn')"
    for model in ("mlp", net, Net):
        again = pickle.loads(pickle.dumps(family_of(model)))
        assert again == family_of(model)
        x = torch.rand(2, *SHAPE)
        networks = [f.build({}, SHAPE, 3, 1).eval() for f in (again, family_of(model))]
        assert torch.equal(networks[0](x), networks[1](x))


NETS = """
from torch import nn

from tunesmith import Space
from tunesmith.train.model_families import family_of

DEFAULTS = {"width": 2}


class Base(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.LazyLinear(SIZE)


class Net(Base):
    def __init__(self, n_classes, width=3):
        super().__init__()
        self.last = nn.LazyLinear(n_classes)

    def forward(self, x):
        return self.last(self.inner(x.flatten(1)))


def make(n_classes, width=3):
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(width), nn.LazyLinear(n_classes))


def space(size):
    return Space()


def build(configuration, input_shape, n_classes, seed):
    return make(n_classes, **configuration)


if __name__ == "__main__":
    print(family_of(Net).id, family_of(make).id)
"""


def imported(path: Path, size: int) -> Any:
    path.write_text(NETS.replace("SIZE", str(size)))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_id_follows_the_source_in_every_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    same, changed = imported(tmp_path / "same.py", 4), imported(tmp_path / "changed.py", 5)
    monkeypatch.setitem(sys.modules, "same", same)  # as an import statement would
    monkeypatch.setitem(sys.modules, "changed", changed)
    other_process = subprocess.run([sys.executable, tmp_path / "same.py"], capture_output=True, text=True, check=True)
    assert other_process.stdout.split() == [family_of(same.Net).id, family_of(same.make).id]
    assert family_of(same.Net).id.startswith("Net-")
    assert family_of(same.Net) != family_of(changed.Net)  # the class it inherits from is another one
    assert family_of(same.make) == family_of(changed.make)


def test_classes_that_were_typed_in_have_an_id_too() -> None:
    ids = []
    for k in (1, 2):
        namespace: dict[str, Any] = {"nn": nn, "__name__": "typed_in"}
        exec(f"class Net(nn.Module):\n    def forward(self, x): return x + {k}", namespace)
        ids.append(user_models.id_of("Net", namespace["Net"]))
    assert ids[0] != ids[1]


def test_a_module_of_python_is_a_model(tmp_path: Path) -> None:
    found = family_of(imported(tmp_path / "bottle_neck.py", 4))
    assert (found.name, found.DEFAULTS) == ("bottle_neck", {"width": 2})
    assert found.space("all") == Space()
    network: Any = found.build({"width": 7}, SHAPE, 3, 0)
    assert network[1].out_features == 7


# -- bad input ---------------------------------------------------------------------------------------------------


def required(width: int, n_classes: int) -> None: ...
def positional(width: int = 3, /) -> None: ...
def complex_default(width: tuple[int, ...] = (1, 2)) -> None: ...
def taken(lr: float = 0.1, model: str = "x") -> None: ...


class WithoutDefaults:
    space = Space()

    def build(self) -> None: ...


class WithoutBuild(Object):
    build = None  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("model", "error", "message"),
    [
        (required, InvalidTypeError, "'width' of the model 'required' has no default; give it one"),
        (positional, InvalidTypeError, "'width' by name"),
        (complex_default, InvalidTypeError, r"default \(1, 2\) of 'width'"),
        (taken, InvalidValueError, r"calls \['lr', 'model'\] like the training loop"),
        (WithoutDefaults(), InvalidTypeError, "no DEFAULTS"),
        (WithoutBuild(), InvalidTypeError, "must be a function"),
        (nn.Linear(2, 2), InvalidTypeError, "not a network that is made already .Linear"),
        (None, InvalidTypeError, r"by its name \(cnn, lenet5, mlp, rnn\), or is a function .* got None"),
        (3, InvalidTypeError, "got 3"),
        ("resnet", InvalidValueError, "known: cnn, lenet5, mlp, rnn"),
    ],
)
def test_what_is_no_model(model: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        family_of(model)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: nn.Flatten(), InvalidArchitectureError, r"logits of shape .*\(2, 3\), not \(2, 36\)"),
        (lambda: nn.Linear(7, 3), InvalidArchitectureError, "cannot take a batch of 2x1x6x6: mat1 and mat2"),
        (lambda: nn.LSTM(6, 3), InvalidArchitectureError, "cannot take a batch of 2x1x6x6"),
        (lambda: nn.Conv2d(1, 3, 9), InvalidArchitectureError, "cannot take a batch"),
        (lambda: 3, InvalidTypeError, "must return a torch.nn.Module, not <class 'int'>"),
    ],
)
def test_networks_that_do_not_fit(make: Any, error: type[Exception], message: str) -> None:
    state = torch.get_rng_state()
    with pytest.raises(error, match=message):
        build_model(make, {}, SHAPE, 3, 0)
    assert torch.equal(torch.get_rng_state(), state)
