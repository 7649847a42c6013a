"""C: the compiler has nothing to say, and the program computes what the net does."""

import ctypes
import re
import shutil
import subprocess

import numpy as np
import pytest

from bpnet import formats
from tests.helpers.any_net import DTYPES, any_problems, make, slack, units
from tests.helpers.complaint import complains

pytestmark = pytest.mark.skipif(not shutil.which("gcc"), reason="there is no gcc here")
STRICT = "-Wall -Wextra -Wpedantic -Wconversion -Wshadow -Wcast-qual -Wdouble-promotion -Werror"
RUN = """
#include "{name}.h"
void run_{name}(const {real} *x, {real} *a, long m);
void run_{name}(const {real} *x, {real} *a, long m)
{{
    for (long i = 0; i < m; i++)
        {call};
}}
"""
PREDICT = "{name}_predict(x + i * {N}_INPUTS, a + i * {N}_OUTPUTS)"
GUARDED = """{{
    {real} s[{N}_SCRATCH + 2];
    s[0] = s[{N}_SCRATCH + 1] = 7;
    {name}_predict_with(x + i * {N}_INPUTS, a + i * {N}_OUTPUTS, s + 1);
    if (s[0] + s[{N}_SCRATCH + 1] < 14 || s[0] + s[{N}_SCRATCH + 1] > 14)
        a[0] = 99;
}}"""


def compiled(folder, code, *options, by="gcc -std=c99"):
    (folder / "all.c").write_text(code)
    command = [*by.split(), "-O2", *STRICT.split(), "all.c", "-o", "all.so", *options]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def assert_c_computes(problems, folder, within=8, call=PREDICT, **options):
    """Compile nets into one program, which gives what they predict, within so many units."""
    code = ""
    for k, (net, *_) in enumerate(problems):
        name, real = f"net{k}", "float" if net.dtype == np.float32 else "double"
        formats.to_c(net, folder / f"{name}.h", **options)
        words = {"name": name, "N": name.upper(), "real": real}
        code += RUN.format(**words, call=call.format(**words))
    compiled(folder, code, "-shared", "-fPIC", "-Wl,--no-undefined", "-lm")
    library = ctypes.CDLL(str(folder / "all.so"))
    for k, (net, x, *wanted) in enumerate(problems):
        want = wanted[0] if wanted else net.predict(x)
        a = np.empty_like(want)
        getattr(library, f"run_net{k}")(
            x.ctypes.data_as(ctypes.c_void_p), a.ctypes.data_as(ctypes.c_void_p), len(x)
        )
        assert units(a, want) < within * slack(net, x), net


def with_batch(sizes, dtype="float64", m=4):
    net = make(sizes, dtype)
    return net, np.random.default_rng(0).normal(size=(m, sizes[0])).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_c_computes_a(tmp_path, dtype):
    assert_c_computes([*any_problems(dtype)], tmp_path)


def test_nets_of_every_width_and_length_keep_within_their_scratch(tmp_path):
    hidden = {(5,): 5, (2, 7): 9, (7, 2, 4): 9, (1, 6, 5, 1, 3): 11, (64, 3, 64, 5, 63): 69}
    hidden |= {(n,): n for n in range(1, 10)}  # of the four sums, which gcc unrolls
    for between, cells in (hidden | {(): 1}).items():
        assert f"#define NET_SCRATCH {cells}\n" in formats.to_c(make((3, *between, 2)))
    problems = [with_batch((h[0] + 1, *h, 2)) for h in hidden]
    assert_c_computes([*problems, with_batch((784, 100, 9), "float32")], tmp_path, 16, GUARDED)


def test_a_scaler_in_the_first_layer(tmp_path):
    mean, scale = [3.0, 2.0, 1.0], [5.0, 4.0, 6.0]
    net, x = with_batch((3, 5, 2))
    want = net.predict((x - mean) / scale)
    assert_c_computes([(net, x, want)], tmp_path, 30, scaler=(mean, scale))
    assert np.array_equal(net.theta, make().theta)


@pytest.mark.parametrize(
    ("activation", "libm"),
    [
        (("relu", "identity"), "not needed"),
        ("elu", "expm1f"),
        ("softplus", "expf, log1pf"),
        (("gelu", "softmax"), "expf, tanhf"),
    ],
)
def test_the_head_says_what_is_needed(tmp_path, activation, libm):
    net = make((4, 8, 3), "float32", activation=activation)
    text = formats.to_c(net, tmp_path / "net.h")
    assert (tmp_path / "net.h").read_text() == text
    assert f"weights  {net.theta.nbytes} bytes" in text
    assert "RAM      32 bytes of scratch, static if net_predict is used" in text
    assert f"libm     {libm} */\n" in text
    assert ("math.h" in text) == (libm != "not needed")
    assert text.isascii()
    assert max(map(len, text.splitlines())) <= 100
    weights = [float.fromhex(n) for n in re.findall(r"-?0x[\w.]+p[+-]\d+(?=f)", text)]
    assert np.array_equal(np.array(weights, "f"), net.theta)
    code = '#include "net.h"\n#include "net.h"\nint main(void) { return 0; }'
    compiled(tmp_path, code, "-nostdlib", "-r")
    if shutil.which("g++"):
        compiled(tmp_path, code, "-c", by="g++ -std=c++17 -x c++")


def test_names(tmp_path):
    for path, name in {"b_2.h": "b_2", "3.h": "net", "my-net.h": "net"}.items():
        assert f"{name}_predict(const" in formats.to_c(make(), tmp_path / path)
    assert "mine_predict(const" in formats.to_c(make(), tmp_path / "net.h", name="mine")
    for name in ("", "3d", "a-b", "_a", "é", "a\n"):
        with complains(ValueError, f"name must be letters, …, a letter first, not {name!r}"):
            formats.to_c(make(), name=name)
