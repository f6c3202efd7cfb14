"""Stages in threads: order, back-pressure, errors, and a shutdown that waits for them."""

import subprocess
import sys
import threading
import time

import pytest

from jadfer_cli.pipeline.threads import Stages


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

    with Stages() as stages:
        items = range(60)
        for step in (2, 3, 5):
            items = stages.ahead(slower(items, step), 3, "test")
        assert list(items) == list(range(3, 63))


def test_stages_work_at_the_same_time_and_wait_for_each_other():
    made = []

    def make():
        for i in range(20):
            made.append(threading.current_thread().name)
            yield i

    with Stages() as stages:
        items = stages.ahead(make(), 4, "maker")
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
    with pytest.raises(ValueError, match="broken"), Stages() as stages:
        first = stages.ahead(breaks(), 8, "first")
        for item in stages.ahead(iter(first), 8, "second"):
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

    with Stages() as stages:
        first = stages.ahead(endless(), 2, "first")
        second = stages.ahead((x for x in first), 2, "second")
        assert next(second) == 1
    assert closed == ["jadfer-first"]


def test_an_error_in_the_consumer_stops_all_stages():
    def endless():
        while True:
            yield 0

    with pytest.raises(KeyboardInterrupt), Stages() as stages:
        first = stages.ahead(endless(), 2, "first")
        second = stages.ahead((x for x in first), 2, "second")
        next(second)
        raise KeyboardInterrupt


@pytest.mark.slow
def test_the_consumer_is_called_while_it_waits_and_may_stop_there():
    def slow():
        time.sleep(0.5)
        yield 1

    calls = []
    with Stages() as stages:
        assert list(stages.ahead(slow(), 1, "slow", lambda: calls.append(0))) == [1]
    assert len(calls) >= 4

    def stop():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), Stages() as stages:
        next(stages.ahead(slow(), 1, "slow", stop))


def test_leaving_does_not_wait_for_a_batch_to_fill():
    def slow():
        while True:
            time.sleep(0.05)
            yield 0

    def batches(items):
        batch = []
        for item in items:
            batch.append(item)
            if len(batch) == 1000:
                yield batch
                batch = []

    began = time.monotonic()
    with Stages() as stages:
        stages.ahead(batches(stages.ahead(slow(), 2, "slow")), 2, "batches")
        time.sleep(0.2)
    assert time.monotonic() - began < 2  # 1000 items would take 50 s


def test_a_stage_that_cannot_begin_says_so():
    with pytest.raises(TypeError), Stages() as stages:
        next(stages.ahead(7, 1, "number"))


def test_a_generator_that_nobody_closes_does_not_hold_the_interpreter():
    code = """
import itertools
from jadfer_cli.pipeline.threads import Stages
def parts():
    with Stages() as stages:
        yield from stages.ahead(itertools.count(), 2, "endless")
it = parts()
print(next(it))
"""
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, "0\n", "")
