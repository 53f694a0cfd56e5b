"""Measures Python's managers for the bench `tools`.

One request a line on stdin: what to call, and how often. One answer a line on stdout: calls per second.
"""

import multiprocessing
import sys
import time


def get(dictionary, calls):
    for _ in range(calls):
        assert dictionary[7] == 7


def set(dictionary, calls):
    for number in range(calls):
        dictionary[8] = number


def lock(mutex, calls):
    for _ in range(calls):
        mutex.acquire()
        mutex.release()


def large(dictionary, calls):
    for _ in range(calls):
        assert len(dictionary[0]) == 64 << 10


def main():
    with multiprocessing.Manager() as manager:
        objects = {
            "get": (get, manager.dict({7: 7})),
            "set": (set, manager.dict()),
            "lock": (lock, manager.Lock()),
            "large": (large, manager.dict({0: bytes([7]) * (64 << 10)})),
        }
        with multiprocessing.Pool(2) as pool:
            for line in sys.stdin:
                words = line.split()
                if words == ["version"]:
                    print(sys.version_info[0] * 100 + sys.version_info[1], flush=True)
                    continue
                name, calls = words[0], int(words[1])
                function, target = objects[name.rstrip("2")]
                begun = time.perf_counter()
                if name.endswith("2"):
                    pool.starmap(function, [(target, calls)] * 2, chunksize=1)
                    calls *= 2
                else:
                    function(target, calls)
                print(calls / (time.perf_counter() - begun), flush=True)


if __name__ == "__main__":
    main()
