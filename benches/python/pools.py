"""Measures Python's pools of processes for the bench `processes`.

One request a line on stdin, words and numbers; one answer a line on stdout, seconds. Pools are kept between requests, as
the other contenders keep theirs.
"""

import multiprocessing
import os
import statistics
import sys
import time
from collections import deque
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

PAGE = 4096


def nothing(x):
    return x


def touch(data):
    """One byte of each page."""
    return sum(data[::PAGE])


def whoami(x):
    return os.getpid()


def die(x):
    os.kill(os.getpid(), 9)


class Executor:
    def __init__(self, workers, method=None):
        context = multiprocessing.get_context(method)
        self.pool = ProcessPoolExecutor(workers, mp_context=context)

    def submit(self, f, x):
        return self.pool.submit(f, x)

    def take(self, future):
        return future.result()

    def map(self, f, items, chunksize):
        return list(self.pool.map(f, items, chunksize=chunksize))

    def close(self):
        self.pool.shutdown()


class Pool:
    def __init__(self, workers, method=None):
        self.pool = multiprocessing.get_context(method).Pool(workers)

    def submit(self, f, x):
        return self.pool.apply_async(f, (x,))

    def take(self, result):
        return result.get()

    def map(self, f, items, chunksize):
        return self.pool.map(f, items, chunksize)

    def close(self):
        self.pool.close()
        self.pool.join()


KINDS = {"executor": Executor, "pool": Pool}
pools = {}


def pool(kind, workers):
    key = kind, workers
    if key not in pools:
        pools[key] = KINDS[kind](int(workers))
    return pools[key]


def stream(kind, workers, tasks, window):
    p, tasks, window = pool(kind, workers), int(tasks), int(window)
    start = time.perf_counter()
    flying = deque()
    for x in range(tasks):
        if len(flying) == window:
            p.take(flying.popleft())
        flying.append(p.submit(nothing, x))
    while flying:
        p.take(flying.popleft())
    return time.perf_counter() - start


def round_trip(kind, workers, count, pause_ms):
    p, pause = pool(kind, workers), float(pause_ms) / 1000
    times = []
    for _ in range(int(count)):
        if pause:
            time.sleep(pause)
        start = time.perf_counter()
        p.take(p.submit(nothing, 7))
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def map_(kind, workers, count, chunksize):
    p, items = pool(kind, workers), range(int(count))
    start = time.perf_counter()
    results = p.map(nothing, items, int(chunksize))
    elapsed = time.perf_counter() - start
    assert len(results) == len(items)
    return elapsed


def send(kind, size, count):
    p, data = pool(kind, "1"), b"\x01" * int(size)
    p.take(p.submit(touch, data))
    start = time.perf_counter()
    for _ in range(int(count)):
        assert p.take(p.submit(touch, data)) == len(data) // PAGE
    return (time.perf_counter() - start) / int(count)


def echo(kind, size, count):
    p, data = pool(kind, "1"), b"\x01" * int(size)
    data = p.take(p.submit(nothing, data))
    start = time.perf_counter()
    for _ in range(int(count)):
        data = p.take(p.submit(nothing, data))
    elapsed = (time.perf_counter() - start) / int(count)
    assert len(data) == int(size)
    return elapsed


def cold(kind, method, workers, ballast_mib):
    """A new pool, to its first result, while this process holds so much memory."""
    ballast = b"\x01" * (int(ballast_mib) << 20)
    start = time.perf_counter()
    p = KINDS[kind](int(workers), method)
    p.take(p.submit(nothing, 7))
    elapsed = time.perf_counter() - start
    p.close()
    del ballast
    return elapsed


def replace(kind):
    """From a task that kills its worker to the result of the next one. The executor is broken then: a new one is made."""
    assert kind == "executor", "the task of a dead worker of multiprocessing.Pool never ends"
    p = Executor(1)
    p.take(p.submit(nothing, 7))
    start = time.perf_counter()
    try:
        p.take(p.submit(die, 7))
    except BrokenProcessPool:
        pass
    p.close()
    p = Executor(1)
    p.take(p.submit(nothing, 7))
    elapsed = time.perf_counter() - start
    p.close()
    return elapsed


def private(pid):
    """What a process has for itself, in bytes."""
    with open(f"/proc/{pid}/smaps_rollup") as file:
        return float(sum(int(line.split()[1]) for line in file if line.startswith(("Private_Clean", "Private_Dirty"))) * 1024)


def memory(kind):
    """Not seconds: the private memory of a worker that has done one task."""
    p = KINDS[kind](1)
    pid = p.take(p.submit(whoami, 7))
    time.sleep(0.01)
    used = private(pid)
    p.close()
    return used


def hundred(what, method, tasks):
    """So many tasks on a new pool of four, or each in a process of its own, of which four run at a time."""
    tasks = int(tasks)
    start = time.perf_counter()
    if what == "fresh":
        context = multiprocessing.get_context(method)
        running = deque()
        for x in range(tasks):
            if len(running) == 4:
                running.popleft().join()
            process = context.Process(target=nothing, args=(x,))
            process.start()
            running.append(process)
        while running:
            running.popleft().join()
    else:
        p = KINDS[what](4, method)
        for handle in [p.submit(nothing, x) for x in range(tasks)]:
            p.take(handle)
        p.close()
    return time.perf_counter() - start


def close():
    while pools:
        pools.popitem()[1].close()
    return 0.0


def version():
    """Not seconds: 3.11 is 311."""
    return float(sys.version_info.major * 100 + sys.version_info.minor)


REQUESTS = {
    "stream": stream,
    "round_trip": round_trip,
    "map": map_,
    "send": send,
    "echo": echo,
    "cold": cold,
    "replace": replace,
    "memory": memory,
    "hundred": hundred,
    "close": close,
    "version": version,
}

if __name__ == "__main__":
    for line in sys.stdin:
        request, *words = line.split()
        print(REQUESTS[request](*words), flush=True)
    close()
