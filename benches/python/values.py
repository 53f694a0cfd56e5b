"""Measures Python's Value, Array and SharedMemory for the bench `tools`.

One request a line on stdin, words and numbers; one answer a line on stdout: operations a second, or seconds.
"""

import multiprocessing
import sys
import time
from multiprocessing.shared_memory import ShareableList, SharedMemory

# Forked processes have what the parent has.
CONTEXT = multiprocessing.get_context("fork")


def seconds(work):
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def update(value, times):
    for _ in range(times):
        with value.get_lock():
            value.value += 1


def updates(processes, times):
    """Changes a second, by so many processes at once."""
    value = CONTEXT.Value("q", 0)
    others = [CONTEXT.Process(target=update, args=(value, times)) for _ in range(processes)]
    begun = time.perf_counter()
    for process in others:
        process.start()
    for process in others:
        process.join()
    elapsed = time.perf_counter() - begun
    assert value.value == processes * times
    return processes * times / elapsed


def alone(what, times):
    value = CONTEXT.Value("q", 0)
    raw = CONTEXT.RawValue("q", 0)
    items = ShareableList([0, "text"])

    def get():
        for _ in range(times):
            value.value

    def raw_set():
        for n in range(times):
            raw.value = n

    def list_set():
        for n in range(times):
            items[0] = n

    work = {"update": lambda: update(value, times), "get": get, "raw": raw_set, "list": list_set}[what]
    elapsed = seconds(work)
    items.shm.close()
    items.shm.unlink()
    return times / elapsed


def array(what, length):
    numbers = CONTEXT.Array("i", length)
    new = list(range(length))

    def read():
        return numbers[:]

    def write():
        numbers[:] = new

    return seconds({"read": read, "write": write}[what])


def memory(what, size, times):
    if what == "create":

        def work():
            for _ in range(times):
                memory = SharedMemory(create=True, size=size)
                memory.close()
                memory.unlink()

        return seconds(work) / times
    memory = SharedMemory(create=True, size=size)
    data = bytearray(size)
    memory.buf[:size] = data

    def work():
        for _ in range(times):
            memory.buf[:size] = data
            bytes(memory.buf[:size])

    elapsed = seconds(work)
    memory.close()
    memory.unlink()
    return elapsed / times


def answer(words):
    match words:
        case ["version"]:
            return sys.version_info[0] * 100 + sys.version_info[1]
        case ["updates", processes, times]:
            return updates(int(processes), int(times))
        case ["alone", what, times]:
            return alone(what, int(times))
        case ["array", what, length]:
            return array(what, int(length))
        case ["memory", what, size, times]:
            return memory(what, int(size), int(times))


if __name__ == "__main__":
    for line in sys.stdin:
        print(answer(line.split()), flush=True)
