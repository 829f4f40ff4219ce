"""Data sets: the loaders read whole publishers' files, and say in one line what is wrong with others."""

import dataclasses
import gzip
import importlib
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.data import DATA_VARIABLE, Dataset, Publisher, data_folder, standardised, stratified_split
from bench.datasets import adult, cifar10, datasets, heart_disease, mnist
from protocols.check import CloisterError

WAY_OUT = "then give their folder with --data-dir DIR or the environment variable CLOISTER_DATA"
PAGES = {
    "mnist": "http://yann.lecun.com/exdb/mnist/",
    "cifar10": "https://www.cs.toronto.edu/~kriz/cifar.html",
    "adult": "https://archive.ics.uci.edu/dataset/2/adult",
    "heart_disease": "https://archive.ics.uci.edu/dataset/45/heart+disease",
}


@pytest.fixture(autouse=True)
def _no_data_folder_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(DATA_VARIABLE, raising=False)


def load(name: str, data_dir: Path | None = None, **parameters: Any) -> Dataset:
    """Load a data set as the command line does: by name, through the registry."""
    return datasets.make(datasets.resolve({"name": name, **parameters})).load(data_dir)


def failure(action: Callable[[], object]) -> str:
    """Return the message of the CloisterError that the action raises; it is one line."""
    with pytest.raises(CloisterError) as caught:
        action()
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- synthetic files in the publishers' layouts ---------------------------------------------------------------------


def idx(values: np.ndarray, magic: int) -> bytes:
    return struct.pack(f">I{values.ndim}I", magic, *values.shape) + values.astype(np.uint8).tobytes()


def mnist_files(train: int = 20, test: int = 10) -> dict[str, bytes]:
    rng = np.random.default_rng(0)
    files: dict[str, bytes] = {}
    for part, rows in (("train", train), ("t10k", test)):
        files[f"{part}-images-idx3-ubyte"] = idx(rng.integers(0, 256, (rows, 28, 28)), 0x0803)
        files[f"{part}-labels-idx1-ubyte"] = idx(np.arange(rows) % 10, 0x0801)
    return files


def cifar_batch(rows: int, first_label: int = 0) -> bytes:
    rng = np.random.default_rng(first_label)
    batch = rng.integers(0, 256, (rows, 3073), dtype=np.uint8)
    batch[:, 0] = (first_label + np.arange(rows)) % 10
    return batch.tobytes()


def cifar_files() -> dict[str, bytes]:
    return {"data_batch_1.bin": cifar_batch(6), "test_batch.bin": cifar_batch(4, first_label=5)}


ADULT_LINE = "39, State-gov, 77516, Bachelors, 13, Never-married, ?, Not-in-family, White, Male, 2174, 0, 40, ?, <=50K"


def adult_files(rows: int = 10) -> dict[str, bytes]:
    rich = ADULT_LINE.replace("39,", "52,").replace("<=50K", ">50K").replace("State-gov", "Private")
    # The published file ends with an empty line.
    return {"adult.data": ("\n".join([ADULT_LINE, rich] * (rows // 2)) + "\n\n").encode()}


def heart_line(age: int = 50, chol: str = "233", num: int = 0) -> str:
    return f"{age}.0,1.0,4.0,145.0,{chol},1,2,150,0,2.3,3,?,?,{num}"


def heart_files(rows: int = 10) -> dict[str, bytes]:
    lines = [heart_line(age=40 + row, chol="?" if row == 3 else str(200 + row), num=row % 5) for row in range(rows)]
    return {f"processed.{hospital}.data": "\n".join(lines).encode() for hospital in heart_disease.HOSPITALS}


FILES: dict[str, Callable[[], dict[str, bytes]]] = {
    "mnist": mnist_files,
    "cifar10": cifar_files,
    "adult": adult_files,
    "heart_disease": heart_files,
}
FOLDERS = {"mnist": "MNIST/raw", "cifar10": "cifar-10-batches-bin", "adult": "adult", "heart_disease": "heart-disease"}


def write(folder: Path, files: dict[str, bytes]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def broken(name: str, root: Path, file: str, content: bytes) -> str:
    """Return the message for a data set one of whose files has that content, without the part that is in each."""
    folder = write(root / FOLDERS[name], {**FILES[name](), file: content})
    message = failure(lambda: load(name, root))
    start, end = f"dataset {name!r}: {folder / file} is broken: found ", f"; get it again from {PAGES[name]}"
    assert message.startswith(start)
    assert end in message
    return message.removeprefix(start).partition(end)[0]


def toy(**changes: Any) -> Dataset:
    parts: dict[str, Any] = {
        "name": "toy",
        "x_train": torch.arange(6.0).reshape(3, 2),
        "y_train": torch.tensor([0, 1, 1]),
        "x_test": torch.ones(1, 2),
        "y_test": torch.tensor([1]),
        "classes": 2,
        "groups": torch.tensor([0, 0, 1]),
        "group_names": ("a", "b"),
    }
    return Dataset(**{**parts, **changes})


# --- the data set itself --------------------------------------------------------------------------------------------


def test_a_data_set_knows_the_shape_of_its_rows() -> None:
    assert toy().shape == (2,)


@pytest.mark.parametrize(
    "change",
    [
        {"x_train": torch.tensor([[0.0, 1.0], [2.0, 3.0], [4.0, 5.5]])},
        {"y_train": torch.tensor([1, 1, 1])},
        {"x_test": torch.zeros(1, 2)},
        {"y_test": torch.tensor([0])},
        {"x_train": torch.arange(6.0).reshape(3, 2, 1), "x_test": torch.ones(1, 2, 1)},
        {"groups": torch.tensor([0, 1, 1])},
        {"groups": None, "group_names": ()},
        {"group_names": ("a", "c")},
        {"classes": 3},
    ],
)
def test_data_sets_that_differ_in_one_value_shape_group_or_class_count_have_different_fingerprints(
    change: dict[str, Any],
) -> None:
    assert toy(**change).fingerprint != toy().fingerprint


def test_equal_data_sets_have_equal_fingerprints_whatever_their_names() -> None:
    assert toy().fingerprint == toy(name="other").fingerprint
    assert len(toy().fingerprint) == 64


def test_a_fingerprint_reads_values_in_the_order_of_rows_whatever_their_layout_in_memory() -> None:
    turned = torch.arange(6.0).reshape(3, 2).T.contiguous().T
    assert toy(x_train=turned).fingerprint == toy().fingerprint


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"x_train": torch.zeros(3, 2, dtype=torch.float64)},
            "dataset 'toy' has x_train of dtype torch.float64; allowed: torch.float32",
        ),
        (
            {"x_test": torch.zeros(0, 2)},
            "dataset 'toy' has x_test of shape (0, 2); allowed: one row of features or more",
        ),
        ({"x_test": torch.zeros(1, 3)}, "dataset 'toy' has x_test rows of shape (3,); allowed: (2,)"),
        (
            {"x_train": torch.tensor([[0.0, torch.nan]] * 3)},
            "dataset 'toy' has x_train with NaN or infinity; allowed: finite features",
        ),
        (
            {"x_test": torch.tensor([[0.0, torch.inf]])},
            "dataset 'toy' has x_test with NaN or infinity; allowed: finite features",
        ),
        ({"y_train": torch.zeros(3)}, "dataset 'toy' has y_train of dtype torch.float32; allowed: torch.int64"),
        ({"y_train": torch.tensor([0, 1])}, "dataset 'toy' has y_train of shape (2,); allowed: (3,)"),
        ({"y_test": torch.tensor([2])}, "dataset 'toy' has y_test from 2 to 2; allowed: 0 to 1"),
        ({"y_train": torch.tensor([-1, 0, 1])}, "dataset 'toy' has y_train from -1 to 1; allowed: 0 to 1"),
        ({"groups": torch.tensor([0, 0, 2])}, "dataset 'toy' has groups from 0 to 2; allowed: 0 to 1"),
        ({"groups": None}, "dataset 'toy' has only one of groups and group_names; allowed: both or neither"),
        ({"group_names": ()}, "dataset 'toy' has only one of groups and group_names; allowed: both or neither"),
    ],
)
def test_a_data_set_with_a_wrong_part_is_refused(change: dict[str, Any], message: str) -> None:
    assert failure(lambda: toy(**change)) == message


# --- splits and statistics ------------------------------------------------------------------------------------------


strata_and_fraction = st.tuples(
    st.lists(st.integers(0, 4), min_size=2, max_size=80).map(np.array), st.floats(0.05, 0.95)
).filter(lambda drawn: bool((np.unique(drawn[0], return_counts=True)[1] * drawn[1] >= 1).any()))


@settings(max_examples=60, deadline=None)
@given(strata_and_fraction)
def test_every_stratum_gives_its_share_to_the_test_rows_to_within_half_a_row_and_keeps_one_training_row(
    drawn: tuple[np.ndarray, float],
) -> None:
    strata, fraction = drawn
    train, test = stratified_split(strata, fraction)
    assert sorted([*train, *test]) == list(range(len(strata)))
    for stratum, size in zip(*np.unique(strata, return_counts=True), strict=True):
        given_away = int((strata[test] == stratum).sum())
        assert given_away < size
        assert abs(given_away - fraction * size) <= 0.5 or given_away == size - 1


@settings(max_examples=20, deadline=None)
@given(strata_and_fraction, st.integers(0, 2**32 - 1))
def test_the_split_is_the_same_in_every_run(drawn: tuple[np.ndarray, float], seed: int) -> None:
    strata, fraction = np.concatenate([drawn[0], drawn[0]]), drawn[1]
    first = stratified_split(strata, fraction)
    np.random.seed(seed)  # noqa: NPY002 - the point: the global state has no influence
    second = stratified_split(strata, fraction)
    assert all(np.array_equal(one, other) for one, other in zip(first, second, strict=True))


def test_the_split_is_the_one_of_the_first_release() -> None:
    _, test = stratified_split(np.arange(20) % 2, 0.3)
    assert test.tolist() == [0, 3, 9, 13, 14, 18]


def test_a_fraction_that_leaves_no_test_row_is_refused() -> None:
    message = failure(lambda: stratified_split(np.zeros(10, dtype=int), 0.01))
    assert message == "test_fraction = 0.01 leaves no test row out of 10; allowed: a larger fraction"


def test_standardised_columns_have_mean_0_and_deviation_1_over_the_training_rows() -> None:
    features = np.random.default_rng(0).normal(5, 3, (50, 4))
    x = standardised(features, np.arange(40))[:40]
    assert np.allclose(x.mean(axis=0), 0)
    assert np.allclose(x.std(axis=0), 1)


def test_a_column_that_is_constant_over_the_training_rows_is_only_centred() -> None:
    features = np.array([[7.0], [7.0], [9.0]])
    assert standardised(features, np.array([0, 1])).tolist() == [[0.0], [0.0], [2.0]]


def test_the_test_rows_have_no_influence_on_the_training_rows_values() -> None:
    features = np.random.default_rng(0).normal(size=(10, 3))
    other = features.copy()
    other[7:] = 1e6
    train = np.arange(7)
    assert np.array_equal(standardised(features, train)[train], standardised(other, train)[train])


# --- loaders without files ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "rows", "shape", "classes"), [("digits", 1797, (64,), 10), ("breast_cancer", 569, (30,), 2)]
)
def test_the_default_data_sets_need_no_files(name: str, rows: int, shape: tuple[int, ...], classes: int) -> None:
    data = load(name)
    assert (len(data.x_train) + len(data.x_test), data.shape, data.classes) == (rows, shape, classes)
    assert abs(len(data.x_test) / rows - 0.2) < 0.01
    assert data.groups is None
    assert np.array_equal(np.unique(data.y_train.numpy()), np.arange(classes))
    assert np.array_equal(np.unique(data.y_test.numpy()), np.arange(classes))


def test_digits_are_grey_levels_from_0_to_1() -> None:
    x = load("digits").x_train
    assert (float(x.min()), float(x.max())) == (0.0, 1.0)


def test_breast_cancer_is_standardised_by_its_training_rows_only() -> None:
    data = load("breast_cancer")
    assert torch.allclose(data.x_train.mean(0), torch.zeros(30), atol=1e-5)
    assert torch.allclose(data.x_train.std(0, correction=0), torch.ones(30), atol=1e-5)
    assert not torch.allclose(data.x_test.mean(0), torch.zeros(30), atol=1e-3)


def test_a_test_fraction_moves_rows_from_training_to_test() -> None:
    assert len(load("digits", test_fraction=0.5).x_test) == pytest.approx(1797 / 2, abs=5)


@pytest.mark.parametrize("name", ["digits", "breast_cancer", "adult", "heart_disease"])
@pytest.mark.parametrize("value", [0.0, 1.0, -0.5, float("nan")])
def test_a_test_fraction_outside_0_to_1_is_refused(name: str, value: float) -> None:
    message = failure(lambda: datasets.resolve({"name": name, "test_fraction": value}))
    allowed = "a number strictly between 0 and 1"
    assert message == f"dataset {name!r}: test_fraction = {value!r} is not allowed; allowed: {allowed}"


@pytest.mark.parametrize("name", ["mnist", "cifar10"])
@pytest.mark.parametrize("value", [0, -1])
def test_a_max_train_below_1_is_refused(name: str, value: int) -> None:
    message = failure(lambda: datasets.resolve({"name": name, "max_train": value}))
    assert message == f"dataset {name!r}: max_train = {value} is not allowed; allowed: an integer >= 1"


def test_listing_the_data_sets_does_not_import_scikit_learn() -> None:
    code = "import sys; from bench.datasets import datasets; datasets.entries(); assert 'sklearn' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


# --- files: found, missing, unreadable ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FILES)
def test_a_loader_gives_the_same_data_from_every_layout_plain_or_gzip(name: str, tmp_path: Path) -> None:
    publisher: Publisher = importlib.import_module(f"bench.datasets.{name}")._PUBLISHER
    fingerprints: set[str] = set()
    for number, folder in enumerate(publisher.folders):
        root = tmp_path / str(number)
        write(root / folder, FILES[name]())
        packed = {f"{file}.gz": gzip.compress(content, mtime=0) for file, content in FILES[name]().items()}
        write(root / "packed" / folder, packed)
        fingerprints |= {load(name, root).fingerprint, load(name, root / "packed").fingerprint}
    assert len(fingerprints) == 1


@pytest.mark.parametrize("name", FILES)
def test_the_data_folder_can_come_from_the_environment(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / FOLDERS[name], FILES[name]())
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path))
    assert load(name, None).fingerprint == load(name, tmp_path).fingerprint


def test_a_data_folder_that_is_given_beats_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DATA_VARIABLE, "elsewhere")
    assert data_folder(Path("here")) == Path("here")
    assert data_folder(None) == Path("elsewhere")
    monkeypatch.setenv(DATA_VARIABLE, "")
    assert data_folder(None) is None


@pytest.mark.parametrize("name", FILES)
def test_without_a_data_folder_the_way_out_is_named(name: str) -> None:
    message = failure(lambda: load(name, None))
    assert message.startswith(f"dataset {name!r}: no data folder was given; get the data from {PAGES[name]}")
    assert message.endswith(WAY_OUT)


@pytest.mark.parametrize("name", FILES)
def test_a_data_folder_that_does_not_exist_is_named(name: str, tmp_path: Path) -> None:
    message = failure(lambda: load(name, tmp_path / "none"))
    problem = f"the data folder {tmp_path / 'none'} does not exist"
    assert message.startswith(f"dataset {name!r}: {problem}; get the data from {PAGES[name]}")
    assert message.endswith(WAY_OUT)


def test_a_data_folder_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert f"the data folder {tmp_path / 'file'} is not a folder" in failure(lambda: load("adult", tmp_path / "file"))


def test_a_missing_folder_or_file_is_reported_in_one_line_with_the_paths_looked_at_the_page_and_the_way_out(
    tmp_path: Path,
) -> None:
    looked_at = f"{tmp_path / 'adult'} or {tmp_path / 'Adult'} or {tmp_path}"
    assert failure(lambda: load("adult", tmp_path)) == (
        f"dataset 'adult': no adult.data (plain or .gz) in {looked_at}; get the data from {PAGES['adult']}, {WAY_OUT}"
    )


@pytest.mark.parametrize("name", ["mnist", "heart_disease"])
def test_one_missing_file_among_others_is_named_with_the_folder_of_the_others(name: str, tmp_path: Path) -> None:
    files = FILES[name]()
    lost = list(files)[1]
    del files[lost]
    folder = write(tmp_path / FOLDERS[name], files)
    start = f"dataset {name!r}: no {lost} (plain or .gz) in {folder}; get the data from {PAGES[name]}"
    assert failure(lambda: load(name, tmp_path)).startswith(start)


def test_all_files_come_from_one_folder_the_first_that_holds_them_all(tmp_path: Path) -> None:
    publisher = Publisher(dataset="toy", page="https://example.org", folders=("one", "two", "three"))
    write(tmp_path / "one", {"a": b""})
    write(tmp_path / "two", {"a": b"", "b": b""})
    write(tmp_path / "three", {"a": b"", "b": b""})
    assert publisher.find(tmp_path, ("a", "b")) == [tmp_path / "two" / "a", tmp_path / "two" / "b"]


def test_a_file_that_is_compressed_with_gzip_reads_like_the_plain_one(tmp_path: Path) -> None:
    publisher = Publisher(dataset="toy", page="https://example.org", folders=(".",))
    write(tmp_path, {"plain": b"content", "packed.gz": gzip.compress(b"content", mtime=0)})
    assert publisher.read(tmp_path / "plain") == publisher.read(tmp_path / "packed.gz") == b"content"


@pytest.mark.parametrize(
    ("content", "found"),
    [(gzip.compress(b"content" * 99, mtime=0)[:-9], "EOFError: "), (b"not gzip", "BadGzipFile: ")],
)
def test_a_gzip_file_that_is_cut_or_is_none_is_refused(content: bytes, found: str, tmp_path: Path) -> None:
    files = {f"{file}.gz": gzip.compress(plain, mtime=0) for file, plain in mnist_files().items()}
    folder = write(tmp_path / "mnist", {**files, "t10k-labels-idx1-ubyte.gz": content})
    message = failure(lambda: load("mnist", tmp_path))
    file = folder / "t10k-labels-idx1-ubyte.gz"
    assert message.startswith(f"dataset 'mnist': {file} is broken: found {found}")
    assert "; allowed: a whole, readable file; get it again from http://yann.lecun.com" in message


# --- MNIST ----------------------------------------------------------------------------------------------------------


def test_mnist_pixels_are_normalised_with_the_usual_constants(tmp_path: Path) -> None:
    files = mnist_files()
    write(tmp_path / "mnist", files)
    data = load("mnist", tmp_path)
    assert (tuple(data.x_train.shape), tuple(data.x_test.shape)) == ((20, 1, 28, 28), (10, 1, 28, 28))
    assert data.y_train.tolist() == [*range(10), *range(10)]
    first_pixel = files["train-images-idx3-ubyte"][16]
    assert float(data.x_train[0, 0, 0, 0]) == pytest.approx((first_pixel / 255 - 0.1307) / 0.3081, abs=1e-6)


def test_max_train_keeps_the_first_rows_of_mnist_and_all_test_rows(tmp_path: Path) -> None:
    write(tmp_path / "mnist", mnist_files())
    whole, cut = load("mnist", tmp_path), load("mnist", tmp_path, max_train=7)
    assert torch.equal(cut.x_train, whole.x_train[:7])
    assert torch.equal(cut.x_test, whole.x_test)
    assert len(load("mnist", tmp_path, max_train=1000).x_train) == 20


IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"


@pytest.mark.parametrize(
    ("file", "content", "found"),
    [
        (IMAGES, b"", "0 bytes; allowed: an IDX header of 16 bytes, then data"),
        (LABELS, b"\0\0\x08\x01", "4 bytes; allowed: an IDX header of 8 bytes, then data"),
        (
            IMAGES,
            idx(np.zeros((20, 28, 28)), 0x0D03),
            "magic number 0x00000d03; allowed: 0x00000803 (IDX, unsigned bytes)",
        ),
        (
            LABELS,
            idx(np.zeros((20, 28, 28)), 0x0803),
            "magic number 0x00000803; allowed: 0x00000801 (IDX, unsigned bytes)",
        ),
        (
            IMAGES,
            idx(np.zeros((20, 28, 28)), 0x0803)[:-1],
            "15695 bytes; allowed: 15696 bytes for the shape (20, 28, 28) in its header",
        ),
        (LABELS, idx(np.zeros(20), 0x0801) + b"\0", "29 bytes; allowed: 28 bytes for the shape (20,) in its header"),
        (IMAGES, idx(np.zeros((20, 27, 28)), 0x0803), "images of shape (20, 27, 28); allowed: (rows, 28, 28)"),
        (IMAGES, idx(np.zeros((0, 28, 28)), 0x0803), "images of shape (0, 28, 28); allowed: (rows, 28, 28)"),
        (LABELS, idx(np.zeros(19), 0x0801), "19 labels; allowed: 20, one per image"),
        (LABELS, idx(np.full(20, 10), 0x0801), "label 10; allowed: 0 to 9"),
    ],
)
def test_a_broken_idx_file_is_refused_with_what_was_found_and_what_is_allowed(
    file: str, content: bytes, found: str, tmp_path: Path
) -> None:
    assert broken("mnist", tmp_path, file, content) == found


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 27), st.integers(0, 255))
def test_an_idx_label_file_with_one_changed_byte_is_refused_unless_it_is_another_label(
    tmp_path_factory: pytest.TempPathFactory, position: int, value: int
) -> None:
    content = bytearray(mnist_files()[LABELS])
    content[position] = value
    root = tmp_path_factory.mktemp("mnist")
    write(root, {**mnist_files(), LABELS: bytes(content)})
    still_whole = position >= 8 and value <= 9
    if still_whole or bytes(content) == mnist_files()[LABELS]:
        assert load("mnist", root).classes == 10
    else:
        assert f"{root / LABELS} is broken: found " in failure(lambda: load("mnist", root))


# --- CIFAR-10 -------------------------------------------------------------------------------------------------------


def test_cifar10_pixels_are_normalised_per_channel(tmp_path: Path) -> None:
    write(tmp_path / "cifar10", cifar_files())
    data = load("cifar10", tmp_path)
    assert (tuple(data.x_train.shape), tuple(data.x_test.shape)) == ((6, 3, 32, 32), (4, 3, 32, 32))
    assert (data.y_train.tolist(), data.y_test.tolist()) == ([0, 1, 2, 3, 4, 5], [5, 6, 7, 8])
    blue = cifar_files()["data_batch_1.bin"][1 + 2 * 1024]
    assert float(data.x_train[0, 2, 0, 0]) == pytest.approx((blue / 255 - 0.4465) / 0.2616, abs=1e-6)


def test_cifar10_uses_the_batches_that_are_there_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    batches = {"data_batch_4.bin": cifar_batch(2, first_label=8), "data_batch_2.bin": cifar_batch(3, first_label=4)}
    write(tmp_path, {**batches, "test_batch.bin": cifar_batch(1), "data_batch_6.bin": cifar_batch(1)})
    assert load("cifar10", tmp_path).y_train.tolist() == [4, 5, 6, 8, 9]
    assert load("cifar10", tmp_path, max_train=4).y_train.tolist() == [4, 5, 6, 8]


def test_cifar10_without_a_training_batch_is_refused(tmp_path: Path) -> None:
    write(tmp_path, {"test_batch.bin": cifar_batch(1)})
    start = f"dataset 'cifar10': no data_batch_1.bin to data_batch_5.bin (plain or .gz) in {tmp_path}; get the data"
    assert failure(lambda: load("cifar10", tmp_path)).startswith(start)


@pytest.mark.parametrize(
    ("file", "content", "found"),
    [
        (
            "data_batch_1.bin",
            cifar_batch(2)[:-1],
            "6145 bytes; allowed: a positive multiple of 3073, the bytes of one image",
        ),
        ("test_batch.bin", b"", "0 bytes; allowed: a positive multiple of 3073, the bytes of one image"),
        ("test_batch.bin", b"\x0b" + cifar_batch(1)[1:], "label 11; allowed: 0 to 9"),
    ],
)
def test_a_broken_cifar10_batch_is_refused_with_what_was_found_and_what_is_allowed(
    file: str, content: bytes, found: str, tmp_path: Path
) -> None:
    assert broken("cifar10", tmp_path, file, content) == found


# --- Adult ----------------------------------------------------------------------------------------------------------


def test_adult_rows_are_standardised_numbers_and_categories_with_a_missing_value_as_its_own(tmp_path: Path) -> None:
    write(tmp_path, adult_files(rows=20))
    data = load("adult", tmp_path)
    assert data.shape == (len(adult.COLUMNS),) == (108,)
    assert (len(data.x_train), len(data.x_test), data.classes) == (16, 4, 2)
    poor = data.x_train[data.y_train == 0][0]
    hot = {adult.COLUMNS[int(column)] for column in (poor == 1).nonzero()}
    assert hot >= {"workclass=State-gov", "occupation=?", "native-country=?", "sex=Male", "race=White"}
    assert float(poor[6:].sum()) == 8
    assert torch.allclose(data.x_train[:, :6].mean(0), torch.zeros(6), atol=1e-6)


def test_adult_columns_do_not_depend_on_the_words_of_the_file_at_hand(tmp_path: Path) -> None:
    write(tmp_path, adult_files(rows=4))
    assert load("adult", tmp_path, test_fraction=0.5).shape == (108,)


@pytest.mark.parametrize(
    ("line", "found"),
    [
        (ADULT_LINE.replace("77516", "many"), "'many' in line 11, column fnlwgt; allowed: a number"),
        (ADULT_LINE.replace("77516", "?"), "'?' in line 11, column fnlwgt; allowed: a number"),
        (ADULT_LINE.replace("77516", "nan"), "'nan' in line 11, column fnlwgt; allowed: a number"),
        (ADULT_LINE.replace("77516", "inf"), "'inf' in line 11, column fnlwgt; allowed: a number"),
        (ADULT_LINE.replace("Male", "?"), "'?' in line 11, column sex; allowed: Female, Male"),
        (ADULT_LINE.replace("<=50K", "<=50K."), "'<=50K.' in line 11, column income; allowed: <=50K, >50K"),
        ("39, State-gov, 77516", "3 cells in line 11; allowed: 15 cells"),
        (ADULT_LINE + ", more", "16 cells in line 11; allowed: 15 cells"),
        ("\n" + ADULT_LINE, "1 cells in line 11; allowed: 15 cells"),
    ],
)
def test_a_bad_cell_is_reported_with_its_file_line_column_what_was_found_and_what_is_allowed(
    line: str, found: str, tmp_path: Path
) -> None:
    good = adult_files(rows=10)["adult.data"].decode().rstrip()
    assert broken("adult", tmp_path, "adult.data", f"{good}\n{line}\n".encode()) == found


@pytest.mark.parametrize(
    ("content", "found"),
    [(b"", "no line; allowed: one line or more"), (b"39\xff", "a byte that is no text at position 2; allowed: text")],
)
def test_a_table_without_lines_or_text_is_refused(content: bytes, found: str, tmp_path: Path) -> None:
    assert broken("adult", tmp_path, "adult.data", content) == found


def test_windows_line_ends_and_a_byte_order_mark_change_nothing(tmp_path: Path) -> None:
    plain = adult_files()["adult.data"]
    write(tmp_path / "plain", {"adult.data": plain})
    write(tmp_path / "windows", {"adult.data": b"\xef\xbb\xbf" + plain.replace(b"\n", b"\r\n")})
    assert load("adult", tmp_path / "plain").fingerprint == load("adult", tmp_path / "windows").fingerprint


# --- Heart Disease --------------------------------------------------------------------------------------------------


def test_heart_disease_has_each_training_rows_hospital_as_its_group(tmp_path: Path) -> None:
    write(tmp_path, heart_files(rows=10))
    data = load("heart_disease", tmp_path)
    assert data.group_names == ("cleveland", "hungarian", "switzerland", "va")
    assert data.groups is not None
    assert torch.bincount(data.groups).tolist() == [8, 8, 8, 8]
    assert (len(data.x_test), data.classes) == (8, 2)


def test_heart_disease_grades_1_to_4_are_one_class(tmp_path: Path) -> None:
    write(tmp_path, heart_files(rows=10))
    data = load("heart_disease", tmp_path)
    assert torch.bincount(torch.cat([data.y_train, data.y_test])).tolist() == [8, 32]


def test_a_missing_heart_value_is_the_training_rows_median_and_is_indicated(tmp_path: Path) -> None:
    write(tmp_path, heart_files(rows=10))
    data = load("heart_disease", tmp_path)
    column = {name: number for number, name in enumerate(heart_disease.COLUMNS)}
    assert data.shape == (len(column),) == (23,)
    x = torch.cat([data.x_train, data.x_test])
    gap = x[:, column["chol missing"]] == 1
    assert int(gap.sum()) == 4
    known = data.x_train[data.x_train[:, column["chol missing"]] == 0, column["chol"]]
    # NumPy's median is the mean of the two middle values where there are two.
    assert torch.allclose(x[gap, column["chol"]], known.double().quantile(0.5).float(), atol=1e-5)
    assert bool((x[:, column["thal missing"]] == 1).all())
    assert bool((x[:, column["thal"]] == 0).all())


def test_the_heart_test_rows_do_not_shift_the_training_rows(tmp_path: Path) -> None:
    write(tmp_path / "one", heart_files(rows=10))
    before = load("heart_disease", tmp_path / "one")
    groups = np.repeat(np.arange(4), 10)
    labels = np.tile([0, 1, 1, 1, 1], 8)
    _, test = stratified_split(2 * groups + labels, 0.2)
    changed = heart_files(rows=10)
    for hospital, name in enumerate(changed):
        lines = changed[name].decode().splitlines()
        for row in test[groups[test] == hospital] % 10:
            lines[row] = heart_line(age=999, chol="9999", num=int(row) % 5)
        changed[name] = "\n".join(lines).encode()
    write(tmp_path / "two", changed)
    after = load("heart_disease", tmp_path / "two")
    assert torch.equal(before.x_train, after.x_train)
    assert not torch.equal(before.x_test, after.x_test)


@pytest.mark.parametrize(
    ("line", "found"),
    [
        (heart_line(num=5), "'5' in line 1, column num; allowed: 0, 1, 2, 3 or 4"),
        (heart_line(chol="-"), "'-' in line 1, column chol; allowed: a number or ?"),
        (heart_line().replace("50.0", "?"), "'?' in line 1, column age; allowed: a number"),
        ("1,2", "2 cells in line 1; allowed: 14 cells"),
    ],
)
def test_a_bad_heart_cell_is_refused(line: str, found: str, tmp_path: Path) -> None:
    assert broken("heart_disease", tmp_path, "processed.va.data", line.encode()) == found


# --- all plug-ins ---------------------------------------------------------------------------------------------------


def test_every_data_set_plug_in_is_found_with_a_summary_and_examples_that_resolve() -> None:
    entries = datasets.entries()
    assert list(entries) == ["adult", "breast_cancer", "cifar10", "digits", "heart_disease", "mnist"]
    for name, entry in entries.items():
        assert entry.summary.endswith(".")
        assert dataclasses.is_dataclass(entry.factory)
        for example in entry.examples:
            assert datasets.resolve({"name": name, **example}).name == name
        assert entry.facts["needs_files"] == (name in FILES)


def test_loaders_name_the_constants_that_the_literature_uses() -> None:
    assert (mnist.MEAN, mnist.STANDARD_DEVIATION) == (0.1307, 0.3081)
    assert cifar10.MEAN == (0.4914, 0.4822, 0.4465)
