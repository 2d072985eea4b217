"""One HTTP/1.1 connection: requests to the application and its answers back, in order and within bounds.

A request is handed on once its body is whole, and its answer is one write. Requests that were sent before the first
was answered wait, and meanwhile nothing more is read. What there is no room for is refused before its
body is read. A caller that goes away takes its request with it.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from typing import Any

from headrace.open_inference import bodies_held
from headrace.open_inference.rest.connections import Connections
from headrace.open_inference.rest.http_answers import CONTINUE, CROWDED, OVERLOADED, TOO_MANY, refusal_bytes
from headrace.open_inference.rest.http_exchange import Exchange, unread_s
from headrace.open_inference.rest.http_reader import Reader, Unreadable
from headrace.open_inference.servable import Withdrawable


class Connection(Reader, asyncio.Protocol):
    """A connection of a process; `until` is the instant of the loop's clock by which what it does must be done."""

    def __init__(self, everyone: Connections, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(everyone)
        self._loop = loop
        self.until, self._since = math.inf, loop.time()
        self._waiting: deque[Exchange] = deque()
        self._task: Withdrawable | None = None
        self._current: Exchange | None = None  # what is being answered
        self._over = self._full = False  # nothing more is read; nothing more can be written for now
        self._unread = 0  # bytes of answers that are not taken, when that was last looked at
        self._refusal = b""  # of what could not be read, said once what came before it is answered
        self._woken = False  # what comes next was sent while this rested, and may have to be refused for that

    def connection_made(self, transport: Any) -> None:
        """Take the connection in, or tell it that there are too many."""
        self._transport, everyone = transport, self.everyone
        everyone.opened += 1
        if len(everyone.open) >= everyone.bounds.connections:
            everyone.count("connections")
            self.write(TOO_MANY)
            self._close()
            return
        everyone.open.add(self)
        self.until = self._since + everyone.bounds.head_s

    def connection_lost(self, exc: Exception | None) -> None:
        """Give up what was under way for it."""
        self._over = True
        self.everyone.open.discard(self)
        while self._waiting:
            self._waiting.pop().drop(self.everyone)
        if self._task is not None and self._current is not None:
            self.everyone.count("gone")
            self._current.left(self.everyone)  # a task that has not begun never runs, not even to its end
            self._task.cancel()
        self._current = self._task = None
        self.forget()

    def data_received(self, data: bytes) -> None:
        """Read on; what cannot be read is refused in its turn, and the connection closed."""
        if self._over:
            return
        try:
            if not self.feed(data):
                self._over = True
                if self._current is None:
                    self._transport.close()
        except Unreadable as refused:
            self._refuse(refused.status, refused.reason, refused.message)

    def begun(self) -> None:
        """Give the head its time."""
        if self._current is None:
            self.until = self._loop.time() + self.everyone.bounds.head_s

    def decide(self, exchange: Exchange) -> None:
        """Refuse what there is no room for; give the body of all else its time."""
        if self._current is not None or self._over:
            return  # it waits, and its turn will tell; or it comes too late
        self.until = self._loop.time() + self.everyone.bounds.body_s
        looked = exchange.counted and (self.everyone.admission.crowded or self._woken)
        self._admit(exchange, late=looked and exchange.waited(unread_s(self._transport)))

    def take(self, exchange: Exchange) -> None:
        """Hand a request on, or let it wait for the one before it; after a connection's last answer, neither."""
        if self._over:
            exchange.drop(self.everyone)
        elif exchange.shed:
            self._go_on(kept=exchange.kept)
            expected, self._woken = self._woken, False
            if not self._over and not expected and self.everyone.refused(self):
                self._transport.pause_reading()
        elif self._current is None:
            self._begin(exchange)
        elif len(self._waiting) >= (most := self.everyone.bounds.pipelined):
            exchange.drop(self.everyone)
            raise Unreadable(400, "pipelined", f"more than {most} requests wait for an answer, needs fewer")
        else:
            self._waiting.append(exchange)
            self._transport.pause_reading()

    def crowd_out(self, exchange: Exchange) -> None:
        """Refuse a body that there is no room for; the rest of it is read, so that the refusal is, and not kept."""
        if self._current is not None:
            raise Unreadable(429, "body", bodies_held.FULL)  # in its turn, which is when the connection ends
        self._shed(exchange, CROWDED)

    @property
    def is_last(self) -> bool:
        """Whether nothing was sent behind what is being answered."""
        return not (self._waiting or self._in_head or self._incoming)

    def write(self, data: bytes) -> None:
        """Write to the caller."""
        if self._full:
            self._unread += len(data)
        self._transport.write(data)

    def answered(self, exchange: Exchange) -> None:
        """Go on after an exchange that has ended; one without an answer ends the connection."""
        self._task = self._current = None
        self._go_on(kept=exchange.kept and exchange.wrote)

    def pause_writing(self) -> None:
        """The caller reads its answers too slowly; until it has, nothing more is read of it."""
        self._full = True
        self._unread = self._transport.get_write_buffer_size()
        self.until = self._loop.time() + self.everyone.bounds.answer_s
        if not self._transport.is_closing():
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        """The caller has read what there was."""
        self._full = False
        self.until = self._loop.time() + self._patience_s()
        self._read_on()

    def expire(self) -> None:
        """Hang up on a caller that took too long; one that has taken a part of its answers has as long again."""
        if self._full and (left := self._transport.get_write_buffer_size()) < self._unread:
            self._unread, self.until = left, self._loop.time() + self.everyone.bounds.answer_s
        elif self._full:
            self.everyone.count("unread")
            self.abort()
        elif self._incoming is not None and not self._incoming.shed:
            found, within = self._incoming.size, self.everyone.bounds.body_s
            self._refuse(408, "slow", f"the body stopped after {found} bytes, needs the rest within {within:g} s")
        else:
            if self._in_head:
                self.everyone.count("slow")
            self.abort()

    def leave(self, idle_s: float) -> None:
        """Close if nothing is under way and nothing was asked for so long."""
        if not self._current and self.is_last and self._loop.time() - self._since >= idle_s:
            self._close()

    def abort(self) -> None:
        """Close at once, whatever is still to be written."""
        self._over = True
        self._transport.abort()

    def wake(self) -> None:
        """Read on after a rest."""
        self._woken = True
        self._read_on()

    def _begin(self, exchange: Exchange) -> None:
        self._current, self.until, self._woken = exchange, math.inf, False
        exchange.began = self._loop.time()
        exchange.entered(self.everyone)
        direct = self.everyone.direct
        inference = direct.of(exchange, self) if direct is not None else None
        if inference is None:
            self._task = self._loop.create_task(exchange.run(self))
        else:
            self._task = inference
            inference.start()

    def _go_on(self, *, kept: bool) -> None:
        if self._transport.is_closing():
            return
        if not kept or (self._over and not self._waiting):
            if kept and self._refusal:
                self.write(self._refusal)
                self._linger()
            else:
                self._close()
        elif self._waiting:
            self._begin(self._waiting.popleft())
            self._read_on()
        else:
            self._since = self._loop.time()
            self.until = self._since + self._patience_s()
            if self._incoming is not None:
                self._admit(self._incoming, late=False)  # its bytes were read as they came, and waited for nothing

    def _admit(self, exchange: Exchange, *, late: bool) -> None:
        admission = self.everyone.admission
        if late or (exchange.counted and admission.full(exchange.allowed_s)):
            self._shed(exchange, OVERLOADED)
        elif exchange.asks and not exchange.size:
            self.write(CONTINUE)

    def _shed(self, exchange: Exchange, refusal: bytes) -> None:
        exchange.drop(self.everyone)
        exchange.kept = exchange.kept and exchange.scope["http_version"] != "1.0"  # the refusal does not say kept
        self.everyone.admission.shed += 1
        self.everyone.app.gate.tell_unread()
        self.write(refusal)

    def _read_on(self) -> None:
        if not (self._waiting or self._full or self._transport.is_closing()):
            self._transport.resume_reading()

    def _patience_s(self) -> float:
        bounds = self.everyone.bounds
        if self._full:
            return bounds.answer_s
        if self._current is not None:
            return math.inf
        return bounds.body_s if self._in_head or self._incoming else bounds.idle_s

    def _refuse(self, status: int, reason: str, message: str) -> None:
        self.everyone.count(reason)
        self._refusal = refusal_bytes(status, message)
        if self._current is not None:
            self._over = True  # said now, it would be taken for the answer to another request
            return
        if not self._over:
            self.write(self._refusal)
        self._linger()

    def _linger(self) -> None:
        """End what is said, and read on what is still sent: a caller that writes to who is gone reads no refusal."""
        self._over = True
        self.forget()
        self.until = self._loop.time() + self.everyone.bounds.linger_s
        if not self._transport.is_closing():
            if self._transport.can_write_eof():
                self._transport.write_eof()
            self._transport.resume_reading()

    def _close(self) -> None:
        self._over = True
        self._transport.close()
