"""Virtual time: nothing waits, everything happens in its order, and whoever waits for ever is told so."""

from __future__ import annotations

import asyncio

import pytest

from support.virtual_time import Stuck, elapsed, run_virtually


def test_hours_pass_at_once_and_in_order() -> None:
    async def seen() -> list[tuple[str, float]]:
        found: list[tuple[str, float]] = []

        async def after(seconds: float, name: str) -> None:
            await asyncio.sleep(seconds)
            found.append((name, elapsed()))

        await asyncio.gather(after(7200.0, "late"), after(0.5, "early"))
        return found

    assert run_virtually(seen()) == [("early", 0.5), ("late", 7200.0)]


def test_a_timeout_is_one_of_virtual_time() -> None:
    async def patient() -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(3600.0):
                await asyncio.Event().wait()
        return elapsed()

    assert run_virtually(patient()) == 3600.0


def test_waiting_for_nobody_is_an_error_and_not_a_hang() -> None:
    async def forever() -> None:
        await asyncio.Event().wait()

    with pytest.raises(Stuck):
        run_virtually(forever())


def test_what_a_thread_would_do_is_done_at_once() -> None:
    def fails() -> None:
        raise ValueError("in the thread")

    async def threaded() -> tuple[int, float]:
        made = await asyncio.to_thread(sum, (1, 2))
        with pytest.raises(ValueError, match="in the thread"):
            await asyncio.to_thread(fails)
        return made, elapsed()

    assert run_virtually(threaded()) == (3, 0.0)
