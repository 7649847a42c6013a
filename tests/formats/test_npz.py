"""Nets in files: bit for bit back, never half written, never trusted."""

import errno
import io
import os
import pickle
import stat
import struct
import subprocess
import sys
import textwrap
import zipfile
import zlib

import numpy as np
import pytest

from bpnet import Activation, InvalidFile, Loss, huber
from bpnet.archive import read_arrays, write_arrays, write_atomically
from bpnet.formats.npz import load
from tests.helpers.any_net import any_problems, assert_same, make

posix = pytest.mark.skipif(os.name != "posix", reason="modes, links and FIFOs are POSIX's")


def example(dtype="float64", loss="cross_entropy"):
    output = "softmax" if loss == "cross_entropy" else "sigmoid"
    return make((3, 5, 4, 2), dtype, activation=("tanh", "relu", output), loss=loss)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "net.npz"


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "complex128"])
def test_round_trip_keeps_every_bit(path, dtype):
    net = example(dtype)
    net.theta[0] = -0.0
    net.save(path)
    back = load(path)
    assert_same(net, back)
    assert back.loss_function is net.loss_function
    assert np.shares_memory(back.W[3], back.theta)
    back.theta -= 0.5  # not read-only
    x = [[0.1, 0.2, -0.3]]
    assert np.array_equal(load(path).predict(x), net.predict(x))
    bare = path.with_suffix("")  # a name is taken as it is
    for net, _ in any_problems("float64"):
        net.save(str(bare))
        assert_same(net, load(bare))


@pytest.mark.parametrize("limit", [2, 0.1 + 0.2, 1 / 3, 1.0, np.float64(1e-20)])
def test_huber_keeps_its_limit_exactly(path, limit):
    net = example(loss=huber(limit))
    net.save(path)
    back = load(path)
    assert_same(net, back)
    assert back.loss_function.E.keywords == {"limit": float(limit)}
    a, y = [[0.4, -5.0]], [[0.3, 2.0]]
    assert back.loss(a=a, y=y) == net.loss(a=a, y=y)


def test_a_stack_of_networks(path):
    net = example()
    for order in "CF":  # one network after the other in memory, or the networks fastest
        stack = net.with_theta(np.array([net.theta, 2 * net.theta], order=order))
        stack.save(path)
        assert_same(stack, load(path))
        assert load(path).W[2].shape == (2, 5, 3)


def test_ones_own_rules_and_weights_that_are_not_finite_are_refused_before_writing(tmp_path, path):
    sine = Activation("sine", f=np.sin, df=lambda z, a: np.cos(z))
    quartic = Loss("huber(2)", E=lambda a, y: (a - y) ** 4, dE=lambda a, y: 4 * (a - y) ** 3)
    shadow = Activation("tanh", f=np.sin, df=lambda z, a: np.cos(z))
    broken = example()
    broken.theta[7] = np.nan
    for net, match in [
        (make(activation=sine), "activation 'sine' is your own"),
        (make(activation=shadow), "activation 'tanh' is your own"),
        (make(loss=quartic), r"loss 'huber\(2\)' is your own"),
        (broken, r"W\[2\]\[2, 1\] is nan"),
    ]:
        with pytest.raises(ValueError, match=match):
            net.save(path)
    assert os.listdir(tmp_path) == []


# ---- writing


def test_an_older_file_survives_a_failed_write(tmp_path, path):
    example().save(path)

    def fail(file):
        file.write(b"half")
        raise error

    for error in (OSError("disk full"), KeyboardInterrupt(), ValueError("no")):
        with pytest.raises(type(error)):
            write_atomically(path, fail)
        assert os.listdir(tmp_path) == ["net.npz"]
        assert_same(example(), load(path))
    with pytest.raises(ValueError):
        write_atomically(tmp_path / "new.npz", fail)
    assert os.listdir(tmp_path) == ["net.npz"]


@pytest.mark.parametrize(
    "full", [OSError(errno.ENOSPC, "No space left on device"), OSError("8 requested and 0 written")]
)
def test_an_older_file_survives_a_failed_save_and_is_named(tmp_path, path, monkeypatch, full):
    example().save(path)

    def fail(descriptor):
        raise full

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match=full.strerror or str(full)) as caught:
        example("float32").save(path)
    assert (caught.value.filename, caught.value.errno) == (str(path), full.errno)
    assert str(path) in str(caught.value)

    def denied(source, target):
        raise PermissionError(13, "denied", source)  # a name that nobody knows

    monkeypatch.undo()
    monkeypatch.setattr(os, "replace", denied)
    with pytest.raises(PermissionError) as caught:
        example("float32").save(path)
    assert caught.value.filename == str(path)
    monkeypatch.setattr(os, "access", lambda folder, how: False)
    with pytest.raises(PermissionError, match="this folder may not be written to"):
        example("float32").save(path)
    assert os.listdir(tmp_path) == ["net.npz"]
    assert_same(example(), load(path))


@posix
def test_an_older_file_survives_a_killed_process(path):
    example().save(path)
    code = """
        import os, signal, sys
        from bpnet.archive import write_atomically

        def write(file):
            file.write(b"half")
            file.flush()
            os.kill(os.getpid(), signal.SIGKILL)

        write_atomically(sys.argv[1], write)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code), path], check=False)
    assert done.returncode == -9
    assert_same(example(), load(path))
    example("float32").save(path)  # and what is left of the other does not stand in the way
    assert_same(example("float32"), load(path))


@posix
def test_mode_follows_the_umask_or_the_older_file(path):
    before = os.umask(0o027)
    try:
        example().save(path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
        path.chmod(0o600)
        example().save(path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    finally:
        os.umask(before)


@posix
def test_a_link_keeps_pointing_and_what_is_no_regular_file_is_not_replaced(tmp_path):
    real, link, fifo = (tmp_path / name for name in ("real.npz", "link.npz", "fifo"))
    link.symlink_to(real)
    example().save(link)
    assert link.is_symlink()
    assert_same(example(), load(real))
    os.mkfifo(fifo)
    with pytest.raises(OSError, match="no regular file"):
        example().save(fifo)
    assert stat.S_ISFIFO(fifo.stat().st_mode)


def test_folders_are_no_files(tmp_path):
    with pytest.raises(IsADirectoryError, match="a folder"):
        example().save(tmp_path)
    with pytest.raises(FileNotFoundError, match="no such folder"):
        example().save(tmp_path / "nowhere" / "net.npz")
    with pytest.raises(TypeError):
        example().save(3)


def test_arrays_of_objects_are_not_written(tmp_path):
    with pytest.raises(TypeError, match="history holds Python objects"):
        write_arrays(tmp_path / "a.npz", {"history": np.array([{}], object)})
    assert os.listdir(tmp_path) == []


def test_arrays_of_any_shape_come_back_as_ones_own(tmp_path):
    arrays = {
        "empty": np.zeros((2, 0), np.float32),
        "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "strided": np.arange(10)[::3],
        "bytes": np.frombuffer(b"\0\1\xff", np.uint8),
        "names": np.array(["", "τ"]),
        "flag": np.array(True),
    }
    write_arrays(tmp_path / "a.npz", arrays)
    back = read_arrays(tmp_path / "a.npz")
    assert list(back) == list(arrays)
    for name, array in arrays.items():
        assert back[name].dtype == array.dtype
        assert np.array_equal(back[name], array)
        assert back[name].flags.writeable
        assert back[name].flags.owndata


# ---- reading


def members(**changes):
    net = example()
    arrays = {
        "format": np.array("bpnet.MLP"),
        "version": np.array(1),
        "sizes": np.array(net.sizes),
        "activations": np.array(["tanh", "relu", "softmax"]),
        "loss": np.array("cross_entropy"),
        "theta": net.theta,
    }
    return {name: a for name, a in (arrays | changes).items() if a is not None}


def activations(names):
    return members(activations=np.array(names))


def write(path, arrays):
    with open(path, "wb") as file:
        np.savez(file, **arrays)


def test_the_format_stays_readable(tmp_path, path):
    write(path, members())
    assert_same(example(), load(path))
    big = members(theta=example().theta.astype(">f8"), sizes=np.array([3, 5, 4, 2], ">i2"))
    write(tmp_path / "big.npz", big)
    assert_same(example(), load(tmp_path / "big.npz"))
    assert load(tmp_path / "big.npz").dtype.isnative


P = example().theta.size
WRONG = {
    "another npz": ({"weights": np.zeros(3)}, "not of a bpnet net: it holds weights"),
    "another format": (members(format=np.array("other")), "not of a bpnet net"),
    "format no text": (members(format=np.array(3)), "format as int64 of shape"),
    "newer version": (members(version=np.array(2)), "format version 2, but this bpnet reads"),
    "no version": (members(version=None), "holds no version"),
    "version no integer": (members(version=np.array(1.0)), "version as float64"),
    "lacks a member": (members(loss=None), "see loss"),
    "has another member": (members(extra=np.zeros(2)), "see extra"),
    "sizes are floats": (members(sizes=np.array([3.0, 5, 4, 2])), "sizes as float64"),
    "a size of 0": (members(sizes=np.array([3, 5, 0, 2])), r"sizes\[2\] must be an integer >= 1"),
    "one size": (members(sizes=np.array([3])), "input and the output layer"),
    "giant sizes": (members(sizes=np.array([2**62, 2**62, 2, 2])), "parameters"),
    "theta too short": (members(theta=np.zeros(P - 1)), rf"shape \({P - 1},\), but .* has {P}"),
    "theta of three axes": (members(theta=np.zeros((2, 2, P))), r"shape \(2, 2,"),
    "no networks": (members(theta=np.zeros((0, P))), r"shape \(0,"),
    "theta of integers": (members(theta=np.zeros(P, int)), "theta as int64, but it must be one of"),
    "theta of halves": (members(theta=np.zeros(P, np.float16)), "theta as float16"),
    "theta of text": (members(theta=np.array(["a"] * P)), "theta as <U1"),
    "NaN": (members(theta=np.full(P, np.nan)), "NaN or infinite"),
    "unknown activation": (activations(["tanh", "step", "softmax"]), "unknown activation 'step'"),
    "too few activations": (activations(["tanh", "softmax"]), "names 2 layers"),
    "activations one text": (activations("tanh"), "not as a list of names"),
    "softmax hidden": (activations(["softmax"] * 3), "for the output layer"),
    "a loss that does not fit": (activations(["tanh"] * 3), "needs rows of probabilities"),
    "unknown loss": (members(loss=np.array("hinge")), "unknown loss 'hinge'"),
    "huber of no number": (members(loss=np.array("huber(x)")), "could not convert"),
    "huber of minus 1": (members(loss=np.array("huber(-1)")), "limit must be > 0"),
    "loss no text": (members(loss=np.array([1.0])), "loss as float64"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_describes_no_net_is_named(path, case):
    arrays, match = WRONG[case]
    write(path, arrays)
    with pytest.raises(InvalidFile, match=match) as caught:
        load(path)
    assert str(caught.value).startswith(str(path))


class Trap:
    """Its pickle makes a file when it is read."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


def test_a_pickle_is_never_run(tmp_path, path):
    trap = tmp_path / "sprung"
    write(path, members(loss=np.array(Trap(str(trap)), object)))
    with pytest.raises(InvalidFile, match="loss as Python objects, which are never read"):
        load(path)
    path.write_bytes(pickle.dumps(Trap(str(trap))))
    with pytest.raises(InvalidFile, match=r"no \.npz file"):
        load(path)
    assert not trap.exists()


def rezip(path, change, compress_type=zipfile.ZIP_STORED):
    """Write the members of a good file with some of their bytes changed."""
    source = io.BytesIO()
    np.savez(source, **members())
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(path, "w", compress_type) as new:
        for name in old.namelist():
            data = change(name, old.read(name))
            if data is not None:
                new.writestr(name, data)
        return new


def npy(header, body=b"", version=b"\1\0"):
    text = header.encode().ljust(117) + b"\n"
    return b"\x93NUMPY" + version + len(text).to_bytes(2, "little") + text + body


def doubles(shape, body=b""):
    return npy(f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}", body)


HOSTILE = {
    "a claim of 8 TB": doubles("(1000000000000,)"),
    "a negative shape": doubles("(-1, -1)", b"8" * 8),
    "less than claimed": doubles("(2,)", b"8" * 8),
    "more than claimed": doubles("(1,)", b"8" * 9),
    "no shape": npy("{'descr': '<f8', 'fortran_order': False}"),
    "open brackets": npy("((((((("),
    "no dtype": npy("{'descr': 'qq', 'fortran_order': False, 'shape': (), }"),
    "nothing wide": npy("{'descr': '<U0', 'fortran_order': False, 'shape': (10000000000,), }"),
    "another npy version": npy("{}", version=b"\x09\0"),
    "no npy": b"something else",
    "empty": b"",
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_member_made_to_hurt(path, case):
    rezip(path, lambda name, data: HOSTILE[case] if name == "theta.npy" else data)
    for read in (load, read_arrays):
        with pytest.raises(InvalidFile, match=r"net\.npz "):
            read(path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_bomb_is_refused_before_it_unfolds_and_members_given_twice(path):
    rezip(path, lambda name, data: data, zipfile.ZIP_DEFLATED)
    with pytest.raises(InvalidFile, match="compressed, which bpnet never writes"):
        load(path)
    example().save(path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("theta.npy", archive.read("theta.npy"))
    with pytest.raises(InvalidFile, match="theta more than once"):
        load(path)


def test_sizes_in_the_directory_are_bounded_by_the_file(path):
    example().save(path)
    data = bytearray(path.read_bytes())
    entry = data.rfind(b"PK\x01\x02")  # the last central header: compressed size, size at 20, 24
    data[entry + 20 : entry + 28] = (2**31).to_bytes(4, "little") * 2
    path.write_bytes(data)
    with pytest.raises(InvalidFile, match="announces more than its"):
        load(path)


def test_members_within_each_other_are_refused(path):
    """Each fits into the file, which holds the next: 300 of them would take 150 times its room."""

    data, directory, names = b"", [], [f"{k}.npy".encode() for k in range(300)]
    for name in names:
        data = npy(f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({len(data)},), }}", data)
        size = struct.pack("<IIIHH", zlib.crc32(data), len(data), len(data), len(name), 0)
        head = struct.pack("<4sHHHHH", b"PK\3\4", 20, 0, 0, 0, 33) + size + name
        directory.append((name, size, len(data)))
        data = head + data
    central = b""
    for name, size, length in directory:
        offset = len(data) - length - 30 - len(name)
        central += struct.pack("<4sHHHHHH", b"PK\1\2", 20, 20, 0, 0, 0, 33) + size
        central += struct.pack("<HHHII", 0, 0, 0, 0, offset) + name
    end = struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, 300, 300, len(central), len(data), 0)
    path.write_bytes(data + central + end)
    with zipfile.ZipFile(path) as archive:
        assert max(member.file_size for member in archive.infolist()) < path.stat().st_size
    with pytest.raises(InvalidFile, match="announces more than its"):
        read_arrays(path)


def test_files_of_other_kinds_and_none(tmp_path, path):
    with pytest.raises(FileNotFoundError):
        load(path)
    np.save(tmp_path / "a.npy", example().theta)
    for content in (b"", b"PK", b"PK\3\4 and no more", (tmp_path / "a.npy").read_bytes()):
        path.write_bytes(content)
        with pytest.raises(InvalidFile, match=r"net\.npz "):
            load(path)


def test_truncated_anywhere_it_is_refused_and_with_a_byte_changed_or_the_same_net(path):
    example().save(path)
    whole, refused = path.read_bytes(), 0
    for length in range(0, len(whole), 3):
        path.write_bytes(whole[:length])
        with pytest.raises(InvalidFile):
            load(path)
    for i in range(len(whole)):
        path.write_bytes(whole[:i] + bytes([whole[i] ^ 0x41]) + whole[i + 1 :])
        try:
            assert_same(example(), load(path))  # a time stamp, say
        except InvalidFile:
            refused += 1
    assert refused > len(whole) // 2
