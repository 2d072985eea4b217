"""Which address is asked next: names are given by a table, instants by hand; nothing is opened."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import Awaitable, Callable

import pytest

from headrace.open_inference import NotReady
from headrace.open_inference.client.channel import Site
from headrace.open_inference.client.endpoints import STRIKES, Endpoint, Endpoints, resolved
from headrace.open_inference.client.http import HttpChannel

PODS = ["10.0.0.1", "10.0.0.2", "10.0.0.3"]


class Names:
    """What a name resolves to: a list to be changed, or an error; and how often it was asked for."""

    def __init__(self, *addresses: str) -> None:
        self.addresses: list[str] | OSError = list(addresses)
        self.asked = 0

    async def __call__(self, host: str, port: int) -> list[str]:
        self.asked += 1
        if isinstance(self.addresses, OSError):
            raise self.addresses
        return list(self.addresses)


def endpoints(names: Names, host: str = "pods") -> Endpoints:
    site = Site(host, 80)
    return Endpoints(host, 80, lambda address: HttpChannel(address, site), resolve=names, refresh_s=5.0)


def scene(names: Names, act: Callable[[Endpoints], Awaitable[None]], host: str = "pods") -> None:
    async def run() -> None:
        known = endpoints(names, host)
        await act(known)
        await known.close()

    asyncio.run(run())


async def refreshed(known: Endpoints, now: float) -> None:
    """Choose, so that what is due is begun, and wait until it is done."""
    await known.chosen(now)
    assert known._task is not None
    await known._task


def test_equals_are_asked_in_turn_and_a_busy_one_is_not() -> None:
    async def act(known: Endpoints) -> None:
        seen = Counter([(await known.chosen(0.0)).address for _ in range(30)])
        assert seen == dict.fromkeys(PODS, 10)
        (await known.chosen(0.0)).outstanding += 1
        busy = next(each for each in known._known if each.outstanding)
        assert busy.address not in [(await known.chosen(0.0)).address for _ in range(30)]
        for each in known._known:
            each.outstanding += 1
        assert busy.address not in [(await known.chosen(0.0)).address for _ in range(30)]

    scene(Names(*PODS), act)


def test_one_that_fails_is_left_out_for_longer_each_time_and_forgiven_when_it_answers() -> None:
    async def act(known: Endpoints) -> None:
        bad = await known.chosen(0.0)
        now, outs = 0.0, []
        for _ in range(8):
            known.failed(bad, now)
            known.failed(bad, now + 0.1)  # what failed meanwhile is the same failure
            outs.append(bad.out_until - now)
            assert bad.address not in [(await known.chosen(bad.out_until - 0.01)).address for _ in range(9)]
            assert known.healthy(now + 0.2) == 2
            now = bad.out_until
            assert bad.address in [(await known.chosen(now)).address for _ in range(9)]
        assert outs == [0.5, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0, 10.0]
        bad.succeeded()
        known.failed(bad, now)
        assert bad.out_until - now == 0.5

    scene(Names(*PODS), act)


def test_there_is_always_somebody_to_ask() -> None:
    async def act(known: Endpoints) -> None:
        await known.chosen(0.0)
        for each in known._known:
            known.failed(each, 0.0)
        assert known.healthy(0.1) == 0
        assert {(await known.chosen(0.1)).address for _ in range(9)} == set(PODS)

    scene(Names(*PODS), act)


def test_errors_in_a_row_are_a_failure_and_single_ones_are_not() -> None:
    async def act(known: Endpoints) -> None:
        await known.chosen(0.0)
        one = known._known[0]
        for _ in range(STRIKES - 1):
            known.struck(one, 1.0)
        assert known.healthy(1.0) == 3
        one.succeeded()
        for _ in range(STRIKES):
            known.struck(one, 1.0)
        assert known.healthy(1.0) == 2

    scene(Names(*PODS), act)


def test_a_second_attempt_is_anothers() -> None:
    async def act(known: Endpoints) -> None:
        await known.chosen(0.0)
        first, second, third = known._known
        known.failed(first, 0.0)
        assert known.another(first, 0.0, same=True) in (second, third)
        second.outstanding = 1
        assert known.another(first, 0.0, same=True) is third
        known.failed(third, 0.0)
        assert known.another(first, 0.0, same=True) is second
        known.failed(second, 0.0)
        assert known.another(first, 0.0, same=True) is first
        assert known.another(first, 0.0, same=False) is None

    scene(Names(*PODS), act)


def test_a_new_address_is_asked_and_one_that_went_is_not() -> None:
    names = Names(*PODS[:2])

    async def act(known: Endpoints) -> None:
        old = await known.chosen(0.0)
        names.addresses = [PODS[1], PODS[2]]
        assert {(await known.chosen(4.9)).address for _ in range(9)} == set(PODS[:2])
        assert names.asked == 1
        await refreshed(known, 5.0)
        assert {(await known.chosen(5.1)).address for _ in range(9)} == set(PODS[1:])
        assert old.address in PODS[:2]
        assert names.asked == 2

    scene(names, act)


def test_what_is_known_of_an_address_outlives_a_refresh() -> None:
    names = Names(*PODS)

    async def act(known: Endpoints) -> None:
        bad = await known.chosen(0.0)
        known.failed(bad, 4.9)
        await refreshed(known, 5.0)
        assert known.total == 3
        assert known.healthy(5.0) == 2

    scene(names, act)


def test_a_failure_is_a_reason_to_look_for_others() -> None:
    names = Names(*PODS)

    async def act(known: Endpoints) -> None:
        bad = await known.chosen(0.0)
        names.addresses = PODS[1:]
        known.failed(bad, 1.0)
        await refreshed(known, 1.0)
        assert known.total == 2
        assert names.asked == 2

    scene(names, act)


def test_a_name_that_is_lost_leaves_those_that_are_known() -> None:
    names = Names(*PODS)

    async def act(known: Endpoints) -> None:
        await known.chosen(0.0)
        for lost in (socket.gaierror(-2, "Name or service not known"), []):
            names.addresses = lost
            await refreshed(known, 100.0 * names.asked)
            assert known.total == 3

    scene(names, act)


def test_a_name_without_an_address_is_said_until_it_has_one() -> None:
    names = Names()

    async def act(known: Endpoints) -> None:
        with pytest.raises(NotReady) as refused:
            await known.chosen(0.0)
        assert refused.value.message == "the predictor's name 'pods' has no address, needs one: try later"
        names.addresses = PODS[:1]
        assert (await known.chosen(0.5)).address == PODS[0]

    scene(names, act)


def test_requests_at_the_same_time_wait_for_one_resolution() -> None:
    names = Names(*PODS)

    async def act(known: Endpoints) -> None:
        found: list[Endpoint] = await asyncio.gather(*(known.chosen(0.0) for _ in range(6)))
        assert {each.address for each in found} == set(PODS)
        assert names.asked == 1

    scene(names, act)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_an_address_is_never_resolved(host: str) -> None:
    names = Names()

    async def act(known: Endpoints) -> None:
        assert [(await known.chosen(at)).address for at in (0.0, 1e9)] == [host, host]
        assert names.asked == 0

    scene(names, act, host)


def test_ipv6_is_asked_while_no_ipv4_address_answers() -> None:
    async def act(known: Endpoints) -> None:
        assert {(await known.chosen(0.0)).address for _ in range(9)} == {PODS[0]}
        known.failed(await known.chosen(0.0), 0.0)
        assert {(await known.chosen(0.1)).address for _ in range(9)} == {"fd00::1"}

    scene(Names("fd00::1", PODS[0]), act)


def test_this_machines_own_name_has_an_address() -> None:
    assert set(asyncio.run(resolved("localhost", 80))) & {"127.0.0.1", "::1"}
