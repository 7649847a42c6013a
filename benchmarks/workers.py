"""A process for each library, asked through a pipe: what `vs_peers.py` and `many.py` share.

Thread pools in one process slow each other, so each library has its own, and they take turns. A
turn runs for a while before the clock starts: after a pause the pools' threads sleep and the
processor is slow, which a training of seconds never meets.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import time
import traceback
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, ClassVar, Self

import measure

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

PAUSE = 0.05  # seconds before a turn: threads of the one before spin so long for more work
BLOCK = 0.02  # seconds that steps go on from the start weights, before they begin anew
QUICK = {"rounds": 3, "seconds": 0.001, "budget": 1.0}
FULL = {"rounds": 15, "seconds": 0.1, "budget": 90.0}


class Library:
    """A library within its own process; its methods are what the pipe may ask for.

    A contender has `reset`, which goes back to the start weights, and `run(n)`, which takes n
    steps and returns when they are done.
    """

    modules: ClassVar[Mapping[str, str]] = {}  # by the library's name; all others are bpnet
    environment: ClassVar[Mapping[str, str]] = {"JAX_PLATFORMS": "cpu"}
    most_steps = 512  # in a block: much later, a net that has learnt its only batch has tiny moments

    def __init__(self, name: str) -> None:
        self.name = name
        self.contenders: dict[str, Any] = {}

    def version(self) -> str:
        """Return the library's version."""
        version: str = import_module(self.modules.get(self.name, "bpnet")).__version__
        return version

    def steps_for(self, contender: str, seconds: float) -> int:
        """Return how many steps a block has; each of them is warmed up by then."""
        found = self.contenders[contender]
        found.run(1)  # which may compile
        n = 1
        while n < self.most_steps and block(found, n) < seconds:
            n *= 2
        return n

    def time(self, contender: str, n: int, seconds: float) -> float:
        """Return the seconds a step takes, in blocks of n steps for so long in all."""
        found = self.contenders[contender]
        start = time.perf_counter()
        while time.perf_counter() - start < seconds:
            found.reset()
            found.run(max(1, n // 8))
        taken, blocks = 0.0, 0
        while taken < seconds:
            taken += block(found, n)
            blocks += 1
        return taken / (blocks * n)


def block(contender: Any, n: int) -> float:
    """Return the seconds that n steps take from the start weights, after some to warm up."""
    contender.reset()
    if n >= 8:
        contender.run(n // 8)
    return measure.seconds_of(contender.run, n)


def keep_to(threads: int) -> None:
    """Let this process use so many cores, where the system can; JAX has no other switch."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


def serve(pipe: Connection, kind: type[Library], name: str, threads: int) -> None:
    """Do what the pipe asks for, until it asks for nothing: the life of a library's process."""
    keep_to(threads)
    os.environ.update(kind.environment)
    if name == "PyTorch":
        import torch

        torch.set_num_threads(threads)
    here = kind(name)
    while (asked := pipe.recv()) is not None:
        method, *arguments = asked
        try:
            pipe.send((getattr(here, method)(*arguments), None))
        except Exception:
            pipe.send((None, traceback.format_exc()))


class Worker:
    """A library's process, asked through a pipe; between questions it sleeps."""

    def __init__(self, kind: type[Library], name: str, threads: int) -> None:
        spawn = multiprocessing.get_context("spawn")
        self.library = name
        self.pipe, theirs = spawn.Pipe()
        what = (theirs, kind, name, threads)
        self.process = spawn.Process(target=serve, args=what, daemon=True)
        self.process.start()
        theirs.close()

    def ask(self, name: str, *arguments: Any) -> Any:
        """Return the answer of the process.

        Raises
        ------
        RuntimeError
            If it met an error, with its report.
        """
        self.pipe.send((name, *arguments))
        try:
            answer, error = self.pipe.recv()
        except EOFError:
            error = "its process ended\n"
        if error is not None:
            raise RuntimeError(f"{self.library}: {error}")
        return answer

    def close(self) -> None:
        """End the process."""
        self.pipe.send(None)
        self.process.join(timeout=10)


class Workers(list[Worker]):
    """The processes of bpnet and of the peers that are installed, bpnet's first.

    Attributes
    ----------
    versions : dict of str to str
    missing : list of str
        The peers asked for that are not installed.
    """

    def __init__(self, kind: type[Library], peers: Sequence[str], threads: int) -> None:
        there = [name for name in kind.modules if name in peers and find_spec(kind.modules[name])]
        super().__init__(Worker(kind, name, threads) for name in ("bpnet", *there))
        self.versions = {worker.library: worker.ask("version") for worker in self}
        self.missing = [name for name in peers if name not in there]

    @property
    def peers(self) -> list[str]:
        """The libraries beside bpnet."""
        return [worker.library for worker in self[1:]]

    def announce(self) -> None:
        """Print who takes part."""
        print(", ".join(f"{name} {version}" for name, version in self.versions.items()))
        if self.missing:
            print(f"Left out: {', '.join(self.missing)}. pip install '.[bench]' brings all peers.")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self:
            worker.close()


def race(
    contenders: Mapping[str, Worker], *, rounds: int, seconds: float, budget: float
) -> tuple[dict[str, list[float]], dict[str, int]]:
    """Time the contenders of several processes in turn; return the seconds a step, and the steps.

    Parameters
    ----------
    contenders : mapping of str to Worker
        By its name there, in which process each is.
    rounds : int
        How often each gets its turn.
    seconds : float
        How long a turn is, and how long it runs before; one block of steps may take longer.
    budget : float
        Seconds after which no further round is begun, the least number of them excepted.
    """
    steps = {name: worker.ask("steps_for", name, min(seconds, BLOCK)) for name, worker in contenders.items()}

    def clock(turn: tuple[str, Worker], _: int) -> float:
        name, worker = turn
        time.sleep(PAUSE)
        a_step: float = worker.ask("time", name, steps[name], seconds)
        return a_step

    turns = {name: (name, worker) for name, worker in contenders.items()}
    one = dict.fromkeys(turns, 1)  # since the answer is of one step
    return measure.turns(turns, one, rounds=rounds, budget=budget, clock=clock), steps


def arguments(description: str, rows: Sequence[str], kind: type[Library]) -> argparse.ArgumentParser:
    """Return a parser that knows the options of both benchmarks."""
    parser = measure.arguments(description, threads=measure.usable_cores())
    measure.add_rows(parser, rows)
    parser.add_argument(
        "--peers", nargs="*", choices=kind.modules, default=list(kind.modules),
        help="only against these",
    )  # fmt: skip
    parser.add_argument(
        "--rounds", type=measure.at_least_one, help=f"turns of each (default {FULL['rounds']})"
    )
    return parser


def how_long(asked: argparse.Namespace) -> dict[str, Any]:
    """Return what `race` is told beside the contenders."""
    how: dict[str, Any] = dict(QUICK if asked.quick else FULL)
    return how | {"rounds": max(asked.rounds or how["rounds"], 2)}
