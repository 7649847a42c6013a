"""Files are replaced whole; what a killed writer has left of one is cleared by the next."""

import os
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest

from bpnet import InvalidFile
from bpnet.archive import (
    cause,
    check_replaceable,
    fcntl,
    new_part,
    read_arrays,
    write_arrays,
    write_atomically,
)
from tests.helpers.complaint import complains

locks = pytest.mark.skipif(fcntl is None, reason="without locks nothing is cleared")

WRITER = """
import sys
from bpnet.archive import write_atomically

def write(file):
    file.write(b"half")
    file.flush()
    print("writing", flush=True)
    sys.stdin.readline()
    file.write(b" and half")

write_atomically(sys.argv[1], write)
"""


@pytest.fixture
def writer(tmp_path):
    """A process in the midst of writing tmp_path / "other"."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    argv = [sys.executable, "-c", WRITER, tmp_path / "other"]
    with subprocess.Popen(argv, **pipes) as process:
        assert process.stdout.readline() == "writing\n"
        yield process
        process.kill()


def parts(folder):
    return sorted(name for name in os.listdir(folder) if name.endswith(".tmp"))


@locks
def test_what_a_killed_writer_leaves_is_cleared_by_the_next(tmp_path, writer):
    assert len(parts(tmp_path)) == 1
    os.kill(writer.pid, signal.SIGKILL)
    writer.wait()
    assert len(parts(tmp_path)) == 1
    write_arrays(tmp_path / "net.npz", {"a": np.zeros(2)})
    assert os.listdir(tmp_path) == ["net.npz"]


@locks
def test_what_a_living_writer_writes_is_left_alone(tmp_path, writer):
    write_arrays(tmp_path / "net.npz", {"a": np.zeros(2)})
    assert len(parts(tmp_path)) == 1
    writer.communicate("go on\n")
    assert writer.returncode == 0
    assert (tmp_path / "other").read_text() == "half and half"
    assert sorted(os.listdir(tmp_path)) == ["net.npz", "other"]


@locks
def test_nothing_else_is_cleared(tmp_path):
    others = ["a.tmp", ".bpnet-0123456789abcdef.npz", ".bpnet-folder.tmp"]
    for name in others[:2]:
        (tmp_path / name).write_text("mine")
    (tmp_path / others[2]).mkdir()
    (tmp_path / ".bpnet-link.tmp").symlink_to(tmp_path / "a.tmp")
    os.mkfifo(tmp_path / ".bpnet-fifo.tmp")
    (tmp_path / ".bpnet-0123456789abcdef.npz.tmp").write_text("left by an earlier version")
    before = {*os.listdir(tmp_path)}
    write_atomically(tmp_path / "new", lambda file: file.write(b"1"))
    assert before - {*os.listdir(tmp_path)} == {".bpnet-0123456789abcdef.npz.tmp"}


@locks
def test_many_writers_at_once_clear_nothing_of_each_other(tmp_path):
    failed = []

    def work(k):
        try:
            for n in range(40):
                write_arrays(tmp_path / f"{k}.npz", {"n": np.array([k, n])})
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert sorted(os.listdir(tmp_path)) == [f"{k}.npz" for k in range(8)]
    assert all(read_arrays(tmp_path / f"{k}.npz")["n"].tolist() == [k, 39] for k in range(8))


@locks
def test_a_part_cleared_before_it_was_locked_is_made_anew(tmp_path, monkeypatch):
    lock, cleared = fcntl.flock, []

    def late(file, how):
        if not cleared:
            cleared.append(file.name)
            os.unlink(file.name)
        lock(file, how)

    monkeypatch.setattr(fcntl, "flock", late)
    with new_part(str(tmp_path), ".npz") as file:
        assert os.path.exists(file.name)
        assert cleared != [file.name]


def test_without_locks_files_are_written_and_nothing_is_cleared(tmp_path, monkeypatch):
    stale = tmp_path / ".bpnet-0123456789abcdef.npz.tmp"
    stale.write_text("")
    for module in (None, Refusing()):
        monkeypatch.setattr("bpnet.archive.fcntl", module)
        write_arrays(tmp_path / "a.npz", {"a": np.zeros(2)})
        assert sorted(os.listdir(tmp_path)) == [stale.name, "a.npz"]


class Refusing:
    LOCK_EX, LOCK_NB = 2, 4

    def flock(self, file, how):
        raise OSError("no locks here")


def test_only_what_is_lost_without_regret_is_replaceable(tmp_path):
    path = tmp_path / "a"
    check_replaceable(path, "x", "thing")
    path.write_bytes(b"")
    check_replaceable(path, "x", "thing")
    write_arrays(path, {"format": np.array("x"), "theta": np.zeros(3)})
    check_replaceable(path, "x", "thing")
    message = f"{path} is no thing of bpnet, or a damaged one, and is not overwritten: name anot…"
    contents = [b"text", path.read_bytes()[:-1]]
    for arrays in ({"format": np.array("y")}, {"theta": np.zeros(3)}):
        write_arrays(path, arrays)
        contents.append(path.read_bytes())
    np.savez_compressed(tmp_path / "b.npz", format=np.array("x"))
    for content in [*contents, (tmp_path / "b.npz").read_bytes()]:
        path.write_bytes(content)
        with complains(InvalidFile, message):
            check_replaceable(path, "x", "thing")
        assert path.read_bytes() == content


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (InvalidFile("holds no θ"), "holds no θ"),
        (KeyError("theta"), "is no bpnet net, or a damaged one: 'theta'"),
        (EOFError(), "is no bpnet net, or a damaged one: EOFError"),  # which has no words itself
    ],
)
def test_a_cause_is_never_empty(error, words):
    assert cause(error) == words
