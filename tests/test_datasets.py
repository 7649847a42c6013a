"""MNIST's files: read right, and every kind of damage named with its file."""

import gzip
import struct
import tracemalloc

import numpy as np
import pytest

from bpnet import InvalidFile
from bpnet.datasets import FILES, load_mnist

NAMES = ["train-images-idx3-ubyte", "train-labels-idx1-ubyte"]
NAMES += ["t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"]


def idx(magic, array):
    """Return the bytes of an IDX file."""
    array = np.asarray(array, np.uint8)
    return struct.pack(f">{1 + array.ndim}I", magic, *array.shape) + array.tobytes()


def write_set(folder, train=7, test=4, seed=0):
    """Write a small set of plain files; each digit is a bright row of its own in noise."""
    rng = np.random.default_rng(seed)
    arrays = []
    for images, labels, m in [(*NAMES[:2], train), (*NAMES[2:], test)]:
        pixels = rng.integers(0, 60, (m, 28, 28))
        digits = (np.arange(m) + 3) % 10
        pixels[np.arange(m), 5 + digits, :] = 255
        (folder / images).write_bytes(idx(2051, pixels))
        (folder / labels).write_bytes(idx(2049, digits))
        arrays += [pixels, digits]
    return arrays


def zip_all(folder):
    for path in list(folder.iterdir()):
        path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("zipped", [False, True])
def test_pixels_labels_and_one_hot_rows(tmp_path, zipped, dtype):
    x_train, labels_train, x_test, labels_test = write_set(tmp_path)
    if zipped:
        zip_all(tmp_path)
    data = load_mnist(tmp_path, dtype=dtype)
    for x, y, labels, pixels, digits in [
        (data.x_train, data.y_train, data.labels_train, x_train, labels_train),
        (data.x_test, data.y_test, data.labels_test, x_test, labels_test),
    ]:
        assert x.dtype == y.dtype == dtype
        assert x.shape == (len(pixels), 784)
        assert np.array_equal(x, pixels.reshape(-1, 784).astype(dtype) / np.dtype(dtype).type(255))
        assert x.max() == 1
        assert np.array_equal(labels, digits)
        assert np.array_equal(y, np.eye(10)[digits])
    assert repr(data) == f"MNIST(7 training images, 4 test images, {dtype})"


def test_names_with_a_dot_and_a_mix_of_plain_and_gz(tmp_path):
    pixels, digits, *_ = write_set(tmp_path, train=2500)  # more than are read at a time
    (tmp_path / f"{NAMES[1]}.gz").write_bytes(b"some rest")  # the plain file comes first ...
    path = tmp_path / NAMES[1]
    path.write_bytes(gzip.compress(path.read_bytes()))  # ... and gzip is known by its bytes
    (tmp_path / NAMES[0]).rename(tmp_path / "train-images.idx3-ubyte")
    labels = tmp_path / NAMES[3]
    (tmp_path / "t10k-labels.idx1-ubyte.gz").write_bytes(gzip.compress(labels.read_bytes()))
    labels.unlink()
    (tmp_path / NAMES[0]).mkdir()  # some archives unpack into folders of the files' names
    data = load_mnist(str(tmp_path))
    assert data.x_train.dtype == np.float32
    assert np.array_equal(np.rint(data.x_train * 255), pixels.reshape(-1, 784))
    assert np.array_equal(data.labels_train, digits)
    assert len(data.labels_test) == 4


def test_no_more_memory_than_the_data_and_a_little(tmp_path):
    write_set(tmp_path, train=6000, test=10)
    zip_all(tmp_path)
    tracemalloc.start()
    try:
        data = load_mnist(tmp_path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    held = sum(array.nbytes for array in vars(data).values())
    assert held < peak < held + 3e6


def test_missing_files_are_all_named_with_a_place_to_get_them(tmp_path):
    write_set(tmp_path)
    (tmp_path / NAMES[1]).unlink()
    (tmp_path / NAMES[2]).unlink()
    with pytest.raises(FileNotFoundError) as caught:
        load_mnist(tmp_path)
    message = str(caught.value)
    assert f"lacks {NAMES[1]} and {NAMES[2]} (plain or .gz)" in message
    assert "https://" in message
    with pytest.raises(FileNotFoundError, match="there is no folder") as caught:
        load_mnist(tmp_path / "nowhere")
    assert all(name in str(caught.value) for name in FILES)


@pytest.mark.parametrize("dtype", ["int32", "complex128", "float16"])
def test_other_dtypes_are_refused(tmp_path, dtype):
    with pytest.raises(ValueError, match="float32 or float64"):
        load_mnist(tmp_path, dtype=dtype)


IMAGES = idx(2051, np.ones((7, 28, 28)))
LABELS = idx(2049, np.arange(7))
MANY = idx(2051, np.ones((1030, 28, 28)))
GIANT = struct.pack(">4I", 2051, 2**32 - 1, 28, 28)
DAMAGE = {
    "swapped images": (0, LABELS, r"should hold images .*2051.* but holds labels .*2049"),
    "swapped labels": (1, IMAGES, r"should hold labels .*2049.* but holds images .*2051"),
    "other content": (0, b"<html>gone</html>", r"is no such IDX file"),
    "empty": (0, b"", "ends within its header, after 0 of 16 bytes"),
    "half a header": (0, IMAGES[:10], "ends within its header, after 10 of 16 bytes"),
    "half a label header": (1, LABELS[:6], "ends within its header, after 6 of 8 bytes"),
    "truncated": (0, IMAGES[:-1], r"announces 7 images, which are 5504 bytes .* it is 5503 bytes"),
    "truncated labels": (1, LABELS[:-2], "announces 7 labels, which are 15 bytes"),
    "trailing": (0, IMAGES + b"\0", "goes on after its 7 images"),
    "trailing labels": (1, LABELS + b"\0", "goes on after its 7 labels"),
    "giant claim": (0, GIANT, "announces 4294967295 images"),
    "other pixels": (0, idx(2051, np.ones((7, 14, 20))), "14 x 20 pixels, but MNIST's are 28 x 28"),
    "no images": (0, idx(2051, np.ones((0, 28, 28))), "holds no images"),
    "a label of 10": (1, idx(2049, [1, 9, 10, 3, 4, 5, 6]), "holds the label 10 at place 2"),
    "fewer labels": (1, idx(2049, np.arange(6)), "6 labels, but .* holds 7 images"),
    "gzip that stops far in": (0, gzip.compress(MANY[:-6]), "ends after 807514 of its 807520"),
    "gzip that cannot hold as much": (0, gzip.compress(MANY[:16]), "announces 1030 images"),
    "truncated gzip": (0, gzip.compress(IMAGES)[:-9], "damaged gzip file"),
    "gzip with a wrong checksum": (0, gzip.compress(IMAGES)[:-5] + b"\7" * 5, "damaged gzip file"),
    "gzip and rubbish": (1, gzip.compress(LABELS) + b"rubbish", "damaged gzip file"),
    "gzip of a truncated file": (0, gzip.compress(IMAGES[:-1]), "ends after 5487 of its 5488"),
    "gzip of a file too long": (0, gzip.compress(IMAGES + b"\0"), "goes on after its 7 images"),
    "gzip with a giant claim": (0, gzip.compress(GIANT), "announces 4294967295 images"),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_damage_is_named_with_its_file(tmp_path, case):
    write_set(tmp_path)
    which, content, match = DAMAGE[case]
    (tmp_path / NAMES[which]).write_bytes(content)
    with pytest.raises(InvalidFile, match=match) as caught:
        load_mnist(tmp_path)
    assert str(caught.value).startswith(str(tmp_path / NAMES[which]))
    assert "MNIST can be had from" in str(caught.value)


def test_every_byte_of_a_gzip_file_may_flip(tmp_path):
    write_set(tmp_path)
    path = tmp_path / NAMES[1]
    whole = gzip.compress(path.read_bytes(), mtime=0)
    labels = load_mnist(tmp_path).labels_train
    path.unlink()
    path = tmp_path / (NAMES[1] + ".gz")
    refused = 0
    for i in range(len(whole)):
        path.write_bytes(whole[:i] + bytes([whole[i] ^ 0x55]) + whole[i + 1 :])
        try:
            assert np.array_equal(load_mnist(tmp_path).labels_train, labels)
        except InvalidFile:
            refused += 1
    assert refused > len(whole) // 2
