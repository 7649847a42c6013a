"""C: the compiler has nothing to say, and the program computes what the net does."""

import ctypes
import re
import shutil
import subprocess

import numpy as np
import pytest

from bpnet import MLP, formats
from bpnet.formats.c import scratch_cells
from bpnet.network.parameters import count
from tests.helpers.any_net import DTYPES, any_problems, make, units
from tests.helpers.complaint import complains

GCC = shutil.which("gcc")
pytestmark = pytest.mark.skipif(GCC is None, reason="there is no gcc here")
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


def gcc(folder, code, *options):
    (folder / "all.c").write_text(code)
    command = [GCC, "-std=c99", "-O2", *STRICT.split(), "all.c", "-o", "all.so", *options]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def program(
    folder, nets, call="{name}_predict(x + i * {N}_INPUTS, a + i * {N}_OUTPUTS)", **options
):
    """Compile nets into one library; return a function for each that predicts by it."""
    code = ""
    for k, net in enumerate(nets):
        name, real = f"net{k}", "float" if net.dtype == np.float32 else "double"
        formats.to_c(net, folder / f"{name}.h", **options)
        code += RUN.format(name=name, real=real, call=call.format(name=name, N=name.upper()))
    gcc(folder, code, "-shared", "-fPIC", "-Wl,--no-undefined", "-lm")
    library = ctypes.CDLL(str(folder / "all.so"))

    def predictor(k, net):
        def predict(x):
            x = np.ascontiguousarray(x, net.dtype)
            a = np.empty((len(x), net.sizes[-1]), net.dtype)
            run = getattr(library, f"run_net{k}")
            run(x.ctypes.data_as(ctypes.c_void_p), a.ctypes.data_as(ctypes.c_void_p), len(x))
            return a

        return predict

    return [predictor(k, net) for k, net in enumerate(nets)]


@pytest.mark.parametrize("dtype", DTYPES)
def test_c_computes_a(tmp_path, dtype):
    problems = [*any_problems(dtype)]
    predictors = program(tmp_path, [net for net, _ in problems])
    for (net, x), predict in zip(problems, predictors, strict=True):
        assert units(predict(x), net.predict(x)) < 8, net


NAMES = ("sigmoid", "tanh", "relu", "leaky_relu", "elu", "softplus", "silu", "gelu", "exp")


@pytest.mark.parametrize("dtype", DTYPES)
def test_far_from_0(tmp_path, dtype):
    nets = [MLP.from_weights([[[1.0]]], [[0.0]], activation=f, dtype=dtype) for f in NAMES]
    nets.append(MLP.from_weights([[[1.0], [-1.0]]], [[0.0] * 2], activation="softmax", dtype=dtype))
    x = np.array([-1e20, -800, -90, -9, -1e-6, 0, 1e-6, 9, 39, 90, 800, 1e20], dtype)[:, None]
    for net, predict in zip(nets, program(tmp_path, nets), strict=True):
        assert units(predict(x), net.predict(x)) < 8, net


def test_every_width_of_the_four_sums(tmp_path):
    nets = [make((n, n, 2)) for n in (*range(1, 10), 65)]  # which gcc unrolls, and looks into
    for net, predict in zip(nets, program(tmp_path, nets), strict=True):
        x = np.random.default_rng(0).normal(size=(3, net.sizes[0]))
        assert units(predict(x), net.predict(x)) < 8


def test_wide_nets_and_long_ones(tmp_path):
    nets = [
        make((784, 100, 10), "float32", activation="relu", loss="cross_entropy"),
        make((64, 3, 64, 5, 63, 7, 1), "float64", activation="tanh"),
    ]
    for net, predict in zip(nets, program(tmp_path, nets), strict=True):
        x = np.random.default_rng(0).normal(size=(50, net.sizes[0])).astype(net.dtype)
        assert units(predict(x), net.predict(x)) < 16


def test_scratch_of_the_callers_is_as_large_as_it_says(tmp_path):
    nets = [make((3, *hidden, 2)) for hidden in [(5,), (2, 7), (7, 2, 4), (1, 6, 5, 1, 3)]]
    for net, cells in zip(nets, (5, 9, 9, 11), strict=True):
        assert scratch_cells(net.sizes) == cells
    call = (  # with a guard at both ends
        "double s[{N}_SCRATCH + 2]; s[0] = s[{N}_SCRATCH + 1] = 7; "
        "{name}_predict_with(x + i * {N}_INPUTS, a + i * {N}_OUTPUTS, s + 1); "
        "if (s[0] + s[{N}_SCRATCH + 1] < 14 || s[0] + s[{N}_SCRATCH + 1] > 14) a[0] = 99"
    )
    x = np.random.default_rng(0).normal(size=(4, 3))
    for net, predict in zip(nets, program(tmp_path, nets, "{{" + call + ";}}"), strict=True):
        assert units(predict(x), net.predict(x)) < 8


def test_a_scaler_in_the_first_layer(tmp_path):
    net, x = make(), np.random.default_rng(0).normal(3, 5, size=(4, 3))
    mean, scale = [3.0, 2.0, 1.0], [5.0, 4.0, 6.0]
    (predict,) = program(tmp_path, [net], scaler=(mean, scale))
    assert units(predict(x), net.predict((x - mean) / scale)) < 30
    assert np.array_equal(net.theta, make().theta)


def test_the_head_says_what_is_needed(tmp_path):
    net = make((4, 8, 3), "float32", loss="cross_entropy")
    text = formats.to_c(net, tmp_path / "iris.h")
    assert (tmp_path / "iris.h").read_text() == text
    assert f"weights  {4 * count(net.sizes)} bytes" in text
    assert "RAM      32 bytes of scratch, static if iris_predict is used" in text
    assert "libm     expf, tanhf\n" in text
    assert f"work     {4 * 8 + 8 * 3} multiplications" in text
    assert text.isascii()
    assert max(map(len, text.splitlines())) <= 100
    weights = [float.fromhex(n) for n in re.findall(r"-?0x[\w.]+p[+-]\d+(?=f)", text)]
    assert np.array_equal(np.array(weights[: net.theta.size], "f"), net.theta)


def test_without_libm_where_nothing_needs_it(tmp_path):
    net = make((3, 5, 2), "float32", activation=("relu", "identity"))
    text = formats.to_c(net, tmp_path / "net.h")
    assert "math.h" not in text
    assert "libm     not needed" in text
    for code in ('#include "net.h"\n#include "net.h"\nint main(void) { return 0; }',):
        gcc(tmp_path, code, "-nostdlib", "-r")
    for f, functions in {"elu": "expm1f", "softplus": "expf, log1pf", "gelu": "tanhf"}.items():
        text = formats.to_c(make((1, 1), "float32", activation=f))
        assert f"libm     {functions}\n" in text
        assert "RAM      none, but for x and a\n" in text


def test_as_cpp(tmp_path):
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("there is no g++ here")
    net = make((3, 5, 4, 2), activation=("gelu", "softplus", "softmax"))
    formats.to_c(net, tmp_path / "net.h")
    code = '#include "net.h"\nint main() { double x[3] = {}, a[2]; net_predict(x, a); }'
    (tmp_path / "all.cpp").write_text(code)
    command = [compiler, "-std=c++17", *STRICT.split(), "-c", "all.cpp"]
    subprocess.run(command, cwd=tmp_path, check=True)


def test_names(tmp_path):
    net = make()
    for path, name in {"a/b_2.h": "b_2", "3.h": "net", "my-net.h": "net"}.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        assert f"{name}_predict(const" in formats.to_c(net, tmp_path / path)
    assert "mine_predict(const" in formats.to_c(net, tmp_path / "net.h", name="mine")
    for name in ("", "3d", "a-b", "_a", "é", "a\n"):
        with complains(
            ValueError, f"name must be letters, digits and _, a letter first, …{name!r}"
        ):
            formats.to_c(net, name=name)
