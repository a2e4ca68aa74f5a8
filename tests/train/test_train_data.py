"""Data sets: the shipped subset, the official formats, damaged files, missing files."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import importlib.util
import pickle
import struct
import sys
import tarfile
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from tunesmith.exceptions import InvalidTypeError, InvalidValueError, MissingDependencyError
from tunesmith.train import DataDamagedError, DataNotFoundError, Dataset, datasets, load_dataset
from tunesmith.train import data as data_package
from tunesmith.train.data import _files, _idx, cifar10, fashion_mnist, fashion_mnist_small, mnist
from tunesmith.train.data._mnist_layout import Layout

SCRIPT = Path(__file__).parents[2] / "scripts" / "draw_fashion_subset.py"


def idx(array: np.ndarray) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def some_images(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    return random.integers(0, 256, (n, 28, 28), np.uint8), np.arange(n, dtype=np.uint8) % 10


# -- discovery ---------------------------------------------------------------------------------------------------


def test_names_are_the_files() -> None:
    assert datasets() == ["cifar10", "digits", "fashion-mnist", "fashion-mnist-small", "mnist"]


def test_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(InvalidValueError, match=r"'mnits'; known: cifar10, digits, .* Did you mean 'mnist'"):
        load_dataset("mnits")
    with pytest.raises(InvalidTypeError, match="by its name"):
        load_dataset(3)  # type: ignore[arg-type]


def test_a_new_data_set_is_one_new_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "two_dots.py").write_text(
        "import numpy as np\nfrom tunesmith.train import Dataset\n"
        "def load():\n"
        "    x = np.zeros((4, 1, 2, 2), np.uint8); y = np.array([0, 1, 0, 1])\n"
        "    return Dataset('two-dots', x, y, x, y, 2)\n"
    )
    (tmp_path / "no_load.py").write_text("")
    monkeypatch.setattr(data_package, "__path__", [*data_package.__path__, str(tmp_path)])
    assert "two-dots" in datasets()
    assert load_dataset("two-dots").n_classes == 2
    with pytest.raises(InvalidTypeError, match=r"no_load.py must define load"):
        load_dataset("no-load")


# -- the shipped subset ------------------------------------------------------------------------------------------


def test_shipped_subset() -> None:
    data = load_dataset("fashion-mnist-small")
    assert data.images.shape == (2500, 1, 28, 28)
    assert data.test_images.shape == (1000, 1, 28, 28)
    assert data.images.dtype == np.uint8
    assert data.validation is not None
    is_validation = np.isin(np.arange(2500), data.validation)
    assert np.bincount(data.labels[~is_validation]).tolist() == [200] * 10
    assert np.bincount(data.labels[is_validation]).tolist() == [50] * 10
    assert np.bincount(data.test_labels).tolist() == [100] * 10
    assert len(np.unique(data.images.reshape(2500, -1), axis=0)) == 2500  # nothing drawn twice
    assert load_dataset("fashion_mnist_small") is data


def test_shipped_file_is_small_and_has_its_licence() -> None:
    assert fashion_mnist_small.FILE.stat().st_size < 2_000_000
    notice = (fashion_mnist_small.FILE.parent / "LICENSE-fashion-mnist.txt").read_text(encoding="utf-8")
    assert "MIT License" in notice
    assert "Copyright © 2017 Zalando SE" in notice
    assert "shall be included in all copies" in notice


def test_damaged_package_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with np.load(fashion_mnist_small.FILE) as file:
        arrays = dict(file)
    arrays["labels"] = arrays["labels"].copy()
    arrays["labels"][0] ^= 1
    np.savez_compressed(tmp_path / "other.npz", **arrays)
    (tmp_path / "cut.npz").write_bytes(fashion_mnist_small.FILE.read_bytes()[:1000])
    monkeypatch.setattr(fashion_mnist_small, "FILE", tmp_path / "other.npz")
    with pytest.raises(DataDamagedError, match="sha256"):
        fashion_mnist_small.load()
    monkeypatch.setattr(fashion_mnist_small, "FILE", tmp_path / "cut.npz")
    with pytest.raises(DataDamagedError, match="cannot be read"):
        fashion_mnist_small.load()
    monkeypatch.setattr(fashion_mnist_small, "FILE", tmp_path / "none.npz")
    with pytest.raises(DataNotFoundError, match="missing"):
        fashion_mnist_small.load()


def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("draw_fashion_subset", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_script_draws_the_same_disjoint_stratified_parts_each_time() -> None:
    images, labels = some_images(3000)
    test_images, test_labels = some_images(1200, seed=1)
    full = Dataset("full", images[:, None], labels.astype(int), test_images[:, None], test_labels.astype(int), 10)
    draw = script()
    first, second = draw.draw(full), draw.draw(full)
    assert draw.content_hash(first) == draw.content_hash(second)
    assert np.bincount(first["labels"][:2000]).tolist() == [200] * 10
    assert np.bincount(first["labels"][2000:]).tolist() == [50] * 10
    assert len(set(first["rows"].tolist())) == 2500
    assert len(set(first["test_rows"].tolist())) == 1000
    np.testing.assert_array_equal(first["images"], images[first["rows"]])
    np.testing.assert_array_equal(first["test_images"], test_images[first["test_rows"]])


def test_script_records_what_ships() -> None:
    with np.load(fashion_mnist_small.FILE) as file:
        arrays = dict(file)
    assert script().content_hash(arrays) == fashion_mnist_small.CONTENT
    assert len(np.unique(arrays["rows"])) == 2500
    assert arrays["rows"].max() < 60_000
    assert arrays["test_rows"].max() < 10_000


# -- digits ------------------------------------------------------------------------------------------------------


def test_digits() -> None:
    data = load_dataset("digits")
    assert data.images.shape == (1500, 1, 8, 8)
    assert len(data.test_labels) == 297
    assert data.images.max() == 16
    assert set(data.test_labels.tolist()) == set(range(10))


def test_digits_without_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    from tunesmith.train.data import digits

    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(MissingDependencyError, match=r"tunesmith\[train\]"):
        digits.load()


# -- IDX ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(3,), (2, 4, 5)])
def test_idx_round_trip(shape: tuple[int, ...]) -> None:
    array = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    np.testing.assert_array_equal(_idx.parse(idx(array), len(shape), "x"), array)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no IDX file .* nothing"),
        (b"\x1f\x8b\x08\x00", "no IDX file"),
        (b"\0\0\x0d\x01" + bytes(8), "no IDX file"),
        (idx(np.zeros((2, 2), np.uint8)), "2 dimensions where 1"),
        (b"\0\0\x08\x01\0", "within its header"),
        (idx(np.zeros(9, np.uint8))[:-1], "should hold 9"),
        (idx(np.zeros(9, np.uint8)) + b"!", "should hold 9"),
    ],
)
def test_idx_damage(content: bytes, message: str) -> None:
    with pytest.raises(DataDamagedError, match=message):
        _idx.parse(content, 1, "labels")


def test_gzip_damage() -> None:
    good = gzip.compress(b"content " * 100)
    assert _idx.decompress(good, "x") == b"content " * 100
    assert _idx.decompress(b"plain", "x") == b"plain"
    for bad in (good[:-5], good[:20] + b"\xff\xff" + good[22:], good[:-4] + bytes(4)):
        with pytest.raises(DataDamagedError, match="damaged gzip"):
            _idx.decompress(bad, "x")


def tiny_layout(folder: Path, zipped: bool = True) -> Layout:
    """A small set in the official layout, and a Layout that knows its hashes."""
    folder.mkdir(parents=True)
    images, labels = some_images(20)
    files = {
        "train-images-idx3-ubyte": images,
        "train-labels-idx1-ubyte": labels,
        "t10k-images-idx3-ubyte": images[:10],
        "t10k-labels-idx1-ubyte": labels[:10],
    }
    hashes = {}
    for name, array in files.items():
        content = idx(array)
        hashes[name] = hashlib.sha256(content).hexdigest()
        (folder / (name + ".gz" * zipped)).write_bytes(gzip.compress(content) if zipped else content)
    return dataclasses.replace(mnist.LAYOUT, content=hashes)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("place", ["MNIST/raw", "mnist"])
def test_mnist_layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, zipped: bool) -> None:
    monkeypatch.setattr(mnist, "LAYOUT", tiny_layout(tmp_path / place, zipped))
    monkeypatch.setenv("TUNESMITH_DATA", str(tmp_path))
    data = load_dataset("mnist")
    assert data.images.shape == (20, 1, 28, 28)
    np.testing.assert_array_equal(data.images[:, 0], some_images(20)[0])
    np.testing.assert_array_equal(data.test_labels, np.arange(10))


def test_another_file_under_the_official_name_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny_layout(tmp_path / "FashionMNIST/raw")
    monkeypatch.setenv("TUNESMITH_DATA", str(tmp_path))
    with pytest.raises(DataDamagedError, match=r"train-images-idx3-ubyte.gz is not the official file.*Delete it"):
        load_dataset("fashion-mnist")


def test_numbers_of_images_and_labels_must_agree(tmp_path: Path) -> None:
    layout = tiny_layout(tmp_path / "raw")
    content = idx(np.zeros(19, np.uint8))
    (tmp_path / "raw" / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(content))
    hashes = {**layout.content, "train-labels-idx1-ubyte": hashlib.sha256(content).hexdigest()}
    with pytest.raises(DataDamagedError, match="numbers of images and labels differ"):
        dataclasses.replace(layout, content=hashes).load(tmp_path / "raw")


# -- missing files -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist", "cifar10"])
def test_no_data_and_no_network(name: str) -> None:
    with pytest.raises(DataNotFoundError, match="set TUNESMITH_DATA to a folder with"):
        load_dataset(name)


def test_variable_that_names_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNESMITH_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(DataNotFoundError, match=r"TUNESMITH_DATA=.*nowhere' is no folder"):
        load_dataset("mnist")


def test_without_pooch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(MissingDependencyError, match=r"tunesmith\[train\].*TUNESMITH_DATA"):
        load_dataset("mnist")


def test_download_checks_the_hash_and_keeps_the_file(tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(b"official")
    good, bad = (f"sha256:{hashlib.sha256(content).hexdigest()}" for content in (b"official", b"other"))
    url = (tmp_path / "source").as_uri()
    path = _download_from_disk(url, good)
    assert path.read_bytes() == b"official"
    (tmp_path / "source").unlink()
    assert _download_from_disk(url, good) == path  # from the cache
    (tmp_path / "source").write_bytes(b"official")
    with pytest.raises(DataDamagedError, match="wrong content"):
        _download_from_disk(url, bad)


def _download_from_disk(url: str, known_hash: str) -> Path:
    """pooch has no downloader for file: addresses; lend it one."""
    import shutil
    import urllib.parse
    import urllib.request

    import pooch

    def copy(url: str, output: object, _: object, **__: object) -> None:
        shutil.copyfile(urllib.request.url2pathname(urllib.parse.urlparse(url).path), str(output))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pooch.core, "choose_downloader", lambda *_, **__: copy)
        return _files.download("tiny", "file.bin", [url], known_hash, "a file")


# -- CIFAR-10 ----------------------------------------------------------------------------------------------------


def cifar_batch(seed: int, n: int = 4) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    return random.integers(0, 256, (n, 3072), np.uint8), random.integers(0, 10, n)


def binary(images: np.ndarray, labels: np.ndarray) -> bytes:
    return np.concatenate([labels[:, None].astype(np.uint8), images], axis=1).tobytes()


def python_batch(images: np.ndarray, labels: np.ndarray) -> bytes:
    entries = {b"batch_label": b"one", b"labels": labels.tolist(), b"data": images, b"filenames": [b"a.png"]}
    return pickle.dumps(entries, protocol=2)


def write_cifar(folder: Path, monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    folder.mkdir(parents=True)
    table, write = (cifar10.BINARY, binary) if version == "bin" else (cifar10.PYTHON, python_batch)
    hashes = {}
    for k, name in enumerate(table):
        content = write(*cifar_batch(k))
        (folder / name).write_bytes(content)
        hashes[name] = f"sha256:{hashlib.sha256(content).hexdigest()}"
    monkeypatch.setattr(cifar10, "BINARY" if version == "bin" else "PYTHON", hashes)


@pytest.mark.parametrize("version", ["bin", "py"])
def test_cifar_layouts_give_the_same(version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_cifar(tmp_path / f"cifar-10-batches-{version}", monkeypatch, version)
    monkeypatch.setenv("TUNESMITH_DATA", str(tmp_path))
    data = load_dataset("cifar10")
    assert data.images.shape == (20, 3, 32, 32)
    images, labels = cifar_batch(4)
    np.testing.assert_array_equal(data.images[16:].reshape(4, -1), images)
    np.testing.assert_array_equal(data.labels[16:], labels)
    np.testing.assert_array_equal(data.test_labels, cifar_batch(5)[1])


def test_cifar_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_cifar(tmp_path / "cifar-10-batches-bin", monkeypatch, "bin")
    archive = tmp_path / "archive.tar.gz"
    with tarfile.open(archive, "w:gz") as file:
        file.add(tmp_path / "cifar-10-batches-bin", "cifar-10-batches-bin")
    monkeypatch.setattr(_files, "download", lambda *_, **__: archive)
    assert len(load_dataset("cifar10").labels) == 20
    archive.write_bytes(archive.read_bytes()[:300])
    with pytest.raises(DataDamagedError, match="damaged archive"):
        cifar10.load()


def test_cifar_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images, labels = cifar_batch(0)
    with pytest.raises(DataDamagedError, match="no multiple of 3073"):
        cifar10.parse_binary(binary(images, labels)[:-1], "batch")
    with pytest.raises(DataDamagedError, match="no multiple"):
        cifar10.parse_binary(b"", "batch")
    with pytest.raises(DataDamagedError, match="label 10"):
        cifar10.parse_binary(binary(images, labels * 0 + 10), "batch")
    with pytest.raises(DataDamagedError, match="no batch of the Python version"):
        cifar10.parse_python(python_batch(images, labels)[:-50], "batch")
    with pytest.raises(DataDamagedError, match="holds"):
        cifar10.parse_python(python_batch(images[:, :-1], labels), "batch")
    write_cifar(tmp_path / "cifar-10-batches-bin", monkeypatch, "bin")
    monkeypatch.setenv("TUNESMITH_DATA", str(tmp_path))
    (tmp_path / "cifar-10-batches-bin" / "data_batch_3.bin").write_bytes(binary(images, labels))
    with pytest.raises(DataDamagedError, match=r"data_batch_3.bin is not the official file"):
        load_dataset("cifar10")


def test_cifar_takes_a_folder_only_when_it_is_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_cifar(tmp_path / "cifar-10-batches-bin", monkeypatch, "bin")
    monkeypatch.setenv("TUNESMITH_DATA", str(tmp_path))
    for name in ("data_batch_3.bin", "test_batch.bin"):
        (tmp_path / "cifar-10-batches-bin" / name).unlink()
    with pytest.raises(DataNotFoundError, match=r"bin lacks data_batch_3.bin, test_batch.bin\. .*is not at hand"):
        cifar10.load()
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(DataNotFoundError, match=r"lacks data_batch_3.bin.*pip install"):
        cifar10.load()
    write_cifar(tmp_path / "cifar10" / "cifar-10-batches-py", monkeypatch, "py")
    assert len(cifar10.load().labels) == 20  # the next source
    (tmp_path / "cifar10" / "cifar-10-batches-py" / "data_batch_1").unlink()
    write_cifar(tmp_path / "CIFAR10" / "cifar-10-batches-bin", monkeypatch, "bin")
    assert len(cifar10.load().labels) == 20  # another place


def test_cifar_archive_members_are_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_cifar(tmp_path / "cifar-10-batches-bin", monkeypatch, "bin")
    (tmp_path / "cifar-10-batches-bin" / "test_batch.bin").write_bytes(binary(*cifar_batch(9)))
    archive = tmp_path / "archive.tar.gz"
    with tarfile.open(archive, "w:gz") as file:
        file.add(tmp_path / "cifar-10-batches-bin", "cifar-10-batches-bin")
    monkeypatch.setattr(_files, "download", lambda *_, **__: archive)
    with pytest.raises(DataDamagedError, match=r"archive.tar.gz:test_batch.bin is not the official file"):
        cifar10.load()


def short(text: bytes) -> bytes:
    """A Python 2 string in a pickle."""
    return b"U" + bytes([len(text)]) + text


def test_cifar_pickles_of_python_2() -> None:
    """The official files were written by Python 2: its strings are bytes here. Written out opcode by opcode."""
    pixels = cifar_batch(0, n=2)[0]
    array = b"".join(
        [
            b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00t", short(b"b"), b"tR",
            b"(K\x01(K\x02M\x00\x0ct", b"cnumpy\ndtype\n(", short(b"u1"), b"K\x00K\x01tR(K\x03", short(b"|"),
            b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89",
            b"T", struct.pack("<i", pixels.size), pixels.tobytes(), b"tb",
        ]
    )  # fmt: skip
    content = b"\x80\x02}(" + short(b"data") + array + short(b"labels") + b"](K\x06K\x09eu."
    images, labels = cifar10.parse_python(content, "data_batch_1")
    np.testing.assert_array_equal(images.reshape(2, -1), pixels)
    assert labels.tolist() == [6, 9]


class Harmful:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return exec, ("raise SystemExit('ran')",)


def test_cifar_pickles_run_no_code() -> None:
    content = pickle.dumps({b"data": Harmful(), b"labels": []}, protocol=2)
    with pytest.raises(DataDamagedError, match=r"names .*exec"):
        cifar10.parse_python(content, "batch")


def test_official_hashes_have_the_right_form() -> None:
    for layout in (mnist.LAYOUT, fashion_mnist.LAYOUT):
        assert set(layout.content) == set(layout.archives)
        assert len({*layout.content.values(), *layout.archives.values()}) == 8


# -- Dataset -----------------------------------------------------------------------------------------------------

X = np.zeros((6, 1, 2, 2), np.uint8)
Y = np.array([0, 1, 2, 0, 1, 2])


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"labels": Y + 1}, InvalidValueError, r"label 3 is not in 0\.\.2 \(2 labels"),
        ({"labels": Y - 1}, InvalidValueError, "label -1"),
        ({"labels": Y.astype(float)}, InvalidTypeError, "integers"),
        ({"labels": Y[:, None]}, InvalidValueError, r"must be \(n,\)"),
        ({"labels": Y[:-1]}, InvalidValueError, "6 training images but 5 labels"),
        ({"images": X[:0], "labels": Y[:0]}, InvalidValueError, "n >= 1"),
        ({"images": X[:, 0]}, InvalidValueError, "channels, height, width"),
        ({"images": X.astype(str)}, InvalidTypeError, "numbers"),
        ({"images": np.full(X.shape, np.nan)}, InvalidValueError, "6 of 6 hold NaN"),
        ({"test_images": np.full(X.shape, np.inf)}, InvalidValueError, "test images: 6 of 6"),
        ({"test_images": np.zeros((6, 1, 3, 2), np.uint8)}, InvalidValueError, "test images"),
        ({"test_images": np.zeros(X.shape)}, InvalidTypeError, "training images are uint8, test images float32"),
        ({"n_classes": 1}, InvalidValueError, "at least 2"),
        ({"validation": np.array([0, 0])}, InvalidValueError, "different"),
        ({"validation": np.array([6])}, InvalidValueError, r"0\.\.5"),
        ({"validation": np.arange(6)}, InvalidValueError, "1 to 5"),
        ({"validation": np.array([], int)}, InvalidValueError, "1 to 5"),
    ],
)
def test_impossible_data(changes: dict[str, object], error: type[Exception], message: str) -> None:
    fields = {"name": "x", "images": X, "labels": Y, "test_images": X, "test_labels": Y, "n_classes": 3}
    with pytest.raises(error, match=message):
        Dataset(**{**fields, **changes})  # type: ignore[arg-type]


def test_arrays_are_read_only_and_the_originals_are_not() -> None:
    images = X.copy()
    data = Dataset("x", images, Y, X, Y, 3)
    with pytest.raises(ValueError, match="read-only"):
        data.images[0] = 1
    images[0] = 1
    assert data.shape == (1, 2, 2)
