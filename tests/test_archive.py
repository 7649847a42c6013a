"""Files are replaced whole; what a killed writer has left of one is cleared by the next."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest

from bpnet import InvalidFile
from bpnet.archive import cause, check_replaceable, fcntl, read_arrays, write_arrays
from tests.helpers.complaint import complains


def refuse(file, how):
    raise OSError("no locks here")


locks = pytest.mark.skipif(fcntl is None, reason="without locks nothing is cleared")

WRITER = """
import sys
from bpnet.archive import write_atomically

def write(file):
    print("writing", file.write(b"half"), flush=True)
    sys.stdin.readline()
    file.write(b" and half")

write_atomically(sys.argv[1], write)
"""


@locks
def test_what_a_killed_writer_leaves_is_cleared_by_the_next_and_a_living_one_s_is_not(tmp_path):
    argv = [sys.executable, "-c", WRITER, tmp_path / "other"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    for killed in (False, True):
        with subprocess.Popen(argv, **pipes) as process:
            assert process.stdout.readline() == "writing 4\n"
            write_arrays(tmp_path / "net.npz", {"a": np.zeros(2)})
            assert len(os.listdir(tmp_path)) == 2 + killed
            if killed:
                process.kill()
            process.communicate("go on\n")
        assert (tmp_path / "other").read_text() == "half and half"
        assert len(os.listdir(tmp_path)) == 2 + killed
    write_arrays(tmp_path / "net.npz", {"a": np.zeros(2)})
    assert sorted(os.listdir(tmp_path)) == ["net.npz", "other"]


@locks
def test_nothing_else_is_cleared(tmp_path):
    for name in ("a.tmp", ".bpnet-0123456789abcdef.npz", ".bpnet-0123456789abcdef.npz.tmp"):
        (tmp_path / name).write_text("mine, and one left by an earlier version")
    (tmp_path / ".bpnet-folder.tmp").mkdir()
    (tmp_path / ".bpnet-link.tmp").symlink_to(tmp_path / "a.tmp")
    os.mkfifo(tmp_path / ".bpnet-fifo.tmp")
    before = {*os.listdir(tmp_path)}
    write_arrays(tmp_path / "new", {})
    assert before - {*os.listdir(tmp_path)} == {".bpnet-0123456789abcdef.npz.tmp"}


@locks
def test_many_writers_at_once_clear_nothing_of_each_other(tmp_path):
    def work(k):
        for n in range(40):
            write_arrays(tmp_path / f"{k}.npz", {"n": np.array([k, n])})

    with ThreadPoolExecutor(8) as threads:
        assert [*threads.map(work, range(8))] == [None] * 8  # which raises what one of them has
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
    write_arrays(tmp_path / "a.npz", {"a": np.zeros(2)})
    assert cleared
    assert os.listdir(tmp_path) == ["a.npz"]


@pytest.mark.parametrize("module", [None, SimpleNamespace(LOCK_EX=2, LOCK_NB=4, flock=refuse)])
def test_without_locks_files_are_written_and_nothing_is_cleared(tmp_path, monkeypatch, module):
    stale = tmp_path / ".bpnet-0123456789abcdef.npz.tmp"
    stale.write_text("")
    monkeypatch.setattr("bpnet.archive.fcntl", module)
    write_arrays(tmp_path / "a.npz", {"a": np.zeros(2)})
    assert sorted(os.listdir(tmp_path)) == [stale.name, "a.npz"]


def test_only_what_is_lost_without_regret_is_replaceable(tmp_path):
    path = tmp_path / "a.npz"
    check_replaceable(path, "x", "thing")
    write_arrays(path, {"format": np.array("x"), "theta": np.zeros(3)})
    whole = path.read_bytes()
    for content in (b"", whole):
        path.write_bytes(content)
        check_replaceable(path, "x", "thing")
    others = [b"text", whole[:-1]]
    for name in ("y", "theta"):
        write_arrays(path, {"format" if name == "y" else name: np.array("y")})
        others.append(path.read_bytes())
    for content in others:
        path.write_bytes(content)
        with complains(InvalidFile, f"{path} is no thing of bpnet, or a damaged one, and is not…"):
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
