"""Runs to be joined, and who is told of them."""

import asyncio
import threading

import numpy as np


def total(features, wanted):
    return {name: features.sum(axis=1) for name in wanted or ("p", "q")}


def rows_of(count, value=1.0):
    return np.full((count, 2), value, dtype=np.float32)


class Held:
    """A run that begins and waits to be let go."""

    def __init__(self):
        self.begun, self.go = threading.Event(), threading.Event()

    def __call__(self, features, wanted):
        self.begun.set()
        assert self.go.wait(20)
        return total(features, wanted)


async def until(event):
    assert await asyncio.to_thread(event.wait, 20)


class Heard:
    """What was told of runs that were asked for, in order; `hear(name)` is one that is told."""

    def __init__(self):
        self.told, self._more = [], asyncio.Event()

    def hear(self, name):
        def hear(found):
            self.told.append((name, found if isinstance(found, Exception) else found["p"].tolist()))
            self._more.set()

        return hear

    async def all(self, count):
        async with asyncio.timeout(20):
            while len(self.told) < count:
                self._more.clear()
                await self._more.wait()
        return self.told
