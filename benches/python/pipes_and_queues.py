"""Measures the tools of Python's multiprocessing for the bench `tools`.

One request a line on stdin, words and numbers; one answer a line on stdout, seconds. Each sample has processes of its own, forked
before the clock starts.
"""

import multiprocessing as mp
import statistics
import sys
import time


def started(target, *args):
    process = mp.Process(target=target, args=args)
    process.start()
    return process


def receive(connection, count, raw):
    connection.send(b"ready")
    for _ in range(count):
        connection.recv_bytes() if raw else connection.recv()
    connection.send(b"done")


def pipe_stream(count, size):
    """Numbers one way; with a size, that many bytes."""
    ours, theirs = mp.Pipe()
    process = started(receive, theirs, count, size > 0)
    ours.recv()
    data = bytes(size)
    start = time.perf_counter()
    if size:
        for _ in range(count):
            ours.send_bytes(data)
    else:
        for number in range(count):
            ours.send(number)
    ours.recv()
    taken = time.perf_counter() - start
    process.join()
    return taken


def echo(connection, count):
    for _ in range(count):
        connection.send(connection.recv())


def pipe_round_trip(count, pause_ms):
    ours, theirs = mp.Pipe()
    process = started(echo, theirs, count)
    samples = []
    for number in range(count):
        if pause_ms:
            time.sleep(pause_ms / 1000)
        start = time.perf_counter()
        ours.send(number)
        ours.recv()
        samples.append(time.perf_counter() - start)
    process.join()
    return statistics.median(samples)


def put(queue, go, count):
    go.wait()
    for number in range(count):
        queue.put(number)


def get(queue, go, count, done):
    go.wait()
    for _ in range(count):
        queue.get()
    done.send(b"done")


def queue_stream(kind, producers, consumers, count):
    queue = getattr(mp, kind)()
    go = mp.Barrier(producers + consumers + 1)
    hear, done = mp.Pipe(duplex=False)
    processes = [started(put, queue, go, count // producers) for _ in range(producers)]
    processes += [started(get, queue, go, count // consumers, done) for _ in range(consumers)]
    go.wait()
    start = time.perf_counter()
    for _ in range(consumers):
        hear.recv()
    taken = time.perf_counter() - start
    for process in processes:
        process.join()
    return taken


def queue_echo(there, back, count):
    for _ in range(count):
        back.put(there.get())


def queue_round_trip(kind, count, pause_ms):
    there, back = getattr(mp, kind)(), getattr(mp, kind)()
    process = started(queue_echo, there, back, count)
    samples = []
    for number in range(count):
        if pause_ms:
            time.sleep(pause_ms / 1000)
        start = time.perf_counter()
        there.put(number)
        back.get()
        samples.append(time.perf_counter() - start)
    process.join()
    return statistics.median(samples)


REQUESTS = {
    "version": lambda: sys.version_info[0] * 100 + sys.version_info[1],
    "pipe_stream": lambda count, size: pipe_stream(int(count), int(size)),
    "pipe_round_trip": lambda count, pause: pipe_round_trip(int(count), int(pause)),
    "queue_stream": lambda kind, p, c, count: queue_stream(kind, int(p), int(c), int(count)),
    "queue_round_trip": lambda kind, count, pause: queue_round_trip(kind, int(count), int(pause)),
}


def main():
    mp.set_start_method("fork")
    # Line by line: a process that is forked must not have what it would read.
    while line := sys.stdin.buffer.raw.readline():
        name, *words = line.decode().split()
        print(REQUESTS[name](*words), flush=True)


if __name__ == "__main__":
    main()
