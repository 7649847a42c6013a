"""Somebody's own forward and backward pass, judged in a process that can be ended."""

import atexit
import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import traceback
from functools import partial
from threading import Timer
from typing import Any

from bpnet.errors import GradientCheckFailed
from bpnet.testing import assert_backward

LIMIT = 10.0  # seconds
MEMORY = 2 << 30  # bytes that the process may take
PRINTED, ANSWER = 4_000, 100_000  # the most letters that are shown, bytes that are read


def judge(code: str) -> dict[str, Any]:
    """Run the code, and return what `assert_backward` says about its functions."""
    space: dict[str, Any] = {"__name__": "own"}
    out, said = io.StringIO(), ""
    with contextlib.redirect_stdout(out):
        try:
            exec(compile(code, "<your code>", "exec"), space)
            passes, options = (space["forward"], space["backward"]), space.get("options", {})
            try:
                assert_backward(*passes, **options)
            except ImportError:  # without Hypothesis
                for seed in range(20):
                    assert_backward(*passes, **options | {"max_examples": 1, "seed": seed})
        except GradientCheckFailed as error:
            said = str(error)
        except BaseException as error:
            frames = traceback.extract_tb(error.__traceback__)
            lines = [f"line {f.lineno}, in {f.name}\n" for f in frames if f.filename[0] == "<"]
            said = "".join([*lines, *traceback.format_exception_only(error)])
    printed = out.getvalue()[:PRINTED]
    return {"ok": not said, "own": said or "backward is right", "printed": printed}


def judge_apart(code: str) -> dict[str, Any]:
    """Judge the code in another process, which ends when its time is over."""
    command = [sys.executable, "-c", "from bpnet.page.own import main; main()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, start_new_session=True) as child:  # fmt: skip
        assert child.stdin
        assert child.stdout
        stop = partial(end, child)
        timer = Timer(LIMIT, stop)
        timer.start()
        atexit.register(stop)  # Ctrl-C ends it too
        with contextlib.suppress(OSError), child.stdin as file:  # it may have ended already
            file.write(code.encode())
        answer, late = child.stdout.read(ANSWER), not timer.is_alive()
        timer.cancel()
        stop()
        atexit.unregister(stop)
    said = "the code ended the process without an answer: it crashed, or called exit"
    if late:
        said = f"stopped after {LIMIT:g} seconds: is there an endless loop?"
    try:
        found: dict[str, Any] = json.loads(answer)
    except ValueError:
        return {"ok": False, "own": said}
    return found


def end(child: subprocess.Popen[bytes]) -> None:
    """End a process, and what it has started."""
    with contextlib.suppress(OSError):
        if hasattr(os, "killpg"):
            os.killpg(child.pid, signal.SIGKILL)
        child.kill()


def main() -> None:
    """Judge the code on standard input, within bounds where the system has them."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        seconds = int(LIMIT) + 5  # where nobody is left to end it
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    answer = sys.stdout
    answer.write(json.dumps(judge(sys.stdin.read())))
