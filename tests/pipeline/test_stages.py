"""Stages in threads: order, back-pressure, errors, and an end that waits for them."""

import threading
import time
from contextlib import ExitStack

import pytest

from jadfer_cli.stages import ahead


@pytest.fixture(autouse=True)
def no_thread_is_left():
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


def test_order_is_kept_through_several_stages():
    def slower(items, step):
        for item in items:
            time.sleep(0.001 * (item % step))
            yield item + 1

    with ExitStack() as stack:
        items = range(60)
        for step in (2, 3, 5):
            items = stack.enter_context(ahead(slower(items, step), 3, "test"))
        assert list(items) == list(range(3, 63))


def test_stages_work_at_the_same_time_and_wait_for_each_other():
    made = []

    def make():
        for i in range(20):
            made.append(threading.current_thread().name)
            yield i

    with ahead(make(), 4, "maker") as items:
        assert next(items) == 0
        time.sleep(0.3)
        assert len(made) == 6  # one taken, four waiting, one in hand
        assert list(items) == list(range(1, 20))
    assert set(made) == {"jadfer-maker"}


def test_an_error_comes_after_what_came_before_it():
    def breaks():
        yield 1
        yield 2
        raise ValueError("broken")

    taken = []
    with pytest.raises(ValueError, match="broken"), ExitStack() as stack:
        first = stack.enter_context(ahead(breaks(), 8, "first"))
        for item in stack.enter_context(ahead(iter(first), 8, "second")):
            taken.append(item)
    assert taken == [1, 2]


def test_leaving_early_closes_the_generator_in_its_own_thread():
    closed = []

    def endless():
        try:
            i = 0
            while True:
                yield (i := i + 1)
        finally:
            closed.append(threading.current_thread().name)

    with ExitStack() as stack:
        first = stack.enter_context(ahead(endless(), 2, "first"))
        second = stack.enter_context(ahead((x for x in first), 2, "second"))
        assert next(second) == 1
    assert closed == ["jadfer-first"]


def test_an_error_in_the_consumer_stops_all_stages():
    def endless():
        while True:
            yield 0

    with pytest.raises(KeyboardInterrupt), ExitStack() as stack:
        first = stack.enter_context(ahead(endless(), 2, "first"))
        second = stack.enter_context(ahead((x for x in first), 2, "second"))
        next(second)
        raise KeyboardInterrupt


def test_the_consumer_is_called_while_it_waits_and_may_stop_there():
    def slow():
        time.sleep(0.5)
        yield 1

    calls = []
    with ahead(slow(), 1, "slow", lambda: calls.append(0)) as items:
        assert list(items) == [1]
    assert len(calls) >= 4

    def stop():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), ahead(slow(), 1, "slow", stop) as items:
        next(items)
