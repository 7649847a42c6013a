"""Ctrl-C ends training after the present step."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Interrupt:
    """Whether Ctrl-C was pressed."""

    pressed = False


@contextmanager
def ctrl_c_ends_training(interrupt: Interrupt) -> Iterator[None]:
    """Let the first Ctrl-C end training after the present step, and a second one at once."""
    before = signal.getsignal(signal.SIGINT)
    main = threading.current_thread() is threading.main_thread()  # which alone signals reach
    if not main or before is not signal.default_int_handler:  # the program's own handler
        yield
        return

    def press(number: int, frame: Any) -> None:
        interrupt.pressed = True
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, press)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
