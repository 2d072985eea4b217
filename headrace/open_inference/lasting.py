"""Tasks that go on as long as their process, and that nobody waits for: what one of them dies of is said at once.

Else a fault would be known when its task is thrown away, which is when the process ends, and meanwhile what the task
watched would be watched no more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from headrace.open_inference.shield import tell_fault


def lasting(
    work: Coroutine[Any, Any, None], during: str, then: Callable[[], object] | None = None
) -> asyncio.Task[None]:
    """Begin a task that is to go on until it is cancelled; whoever begins it keeps it.

    Where a fault ends it, `during` is said with the fault's type, and then `then` is called. It says what was done and
    what follows, as in "models were watched: start it anew to reload".
    """
    task = asyncio.get_running_loop().create_task(work)
    task.add_done_callback(partial(_ended, during, then))
    return task


def _ended(during: str, then: Callable[[], object] | None, task: asyncio.Task[None]) -> None:
    if task.cancelled() or (fault := task.exception()) is None:
        return
    tell_fault(f"{type(fault).__qualname__} while {during}", fault)
    if then is not None:
        then()
