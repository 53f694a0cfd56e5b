"""Measures the locks and signals of Python's multiprocessing for the bench `tools`.

One request a line on stdin, words and numbers; one answer a line on stdout, seconds. Processes are forked before the clock starts.
"""

import multiprocessing as mp
import sys
import time


def alone(kind, count):
    """One process, nobody else: seconds for each pair."""
    made = {"Lock": mp.Lock, "RLock": mp.RLock, "Semaphore": lambda: mp.Semaphore(4)}[kind]()
    start = time.perf_counter()
    for _ in range(count):
        made.acquire()
        made.release()
    return (time.perf_counter() - start) / count


def is_set(count):
    event = mp.Event()
    event.set()
    start = time.perf_counter()
    for _ in range(count):
        event.wait()
    return (time.perf_counter() - start) / count


def lock_again_and_again(lock, here, go, count):
    here.release()
    go.wait()
    for _ in range(count):
        lock.acquire()
        lock.release()


def contended(count):
    """Two processes, one lock: seconds for each pair."""
    lock, here, go = mp.Lock(), mp.Semaphore(0), mp.Event()
    processes = [mp.Process(target=lock_again_and_again, args=(lock, here, go, count)) for _ in range(2)]
    for process in processes:
        process.start()
        here.acquire()
    start = time.perf_counter()
    go.set()
    for process in processes:
        process.join()
    return (time.perf_counter() - start) / (2 * count)


def semaphore_echo(there, back, count):
    for _ in range(count):
        there.acquire()
        back.release()


def semaphore_round_trip(count):
    there, back = mp.Semaphore(0), mp.Semaphore(0)
    process = mp.Process(target=semaphore_echo, args=(there, back, count + 1))
    process.start()
    there.release()
    back.acquire()
    start = time.perf_counter()
    for _ in range(count):
        there.release()
        back.acquire()
    taken = time.perf_counter() - start
    process.join()
    return taken / count


def event_echo(there, back, count):
    for _ in range(count):
        there.wait()
        there.clear()
        back.set()


def event_round_trip(count):
    there, back = mp.Event(), mp.Event()
    process = mp.Process(target=event_echo, args=(there, back, count + 1))
    process.start()

    def once():
        there.set()
        back.wait()
        back.clear()

    once()
    start = time.perf_counter()
    for _ in range(count):
        once()
    taken = time.perf_counter() - start
    process.join()
    return taken / count


def answer(words):
    name, *arguments = words
    if name == "version":
        return sys.version_info[0] * 100 + sys.version_info[1]
    if name == "alone":
        return alone(arguments[0], int(arguments[1]))
    return {
        "is_set": is_set,
        "contended": contended,
        "semaphore_round_trip": semaphore_round_trip,
        "event_round_trip": event_round_trip,
    }[name](int(arguments[0]))


if __name__ == "__main__":
    mp.set_start_method("fork")
    for line in sys.stdin:
        print(answer(line.split()), flush=True)
