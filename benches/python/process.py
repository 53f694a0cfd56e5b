"""Measures Python's Process for the bench `tools`.

One request a line on stdin: start method and number of processes; one answer a line on stdout: seconds for each of them.
"""

import multiprocessing
import sys
import time


def nothing(x):
    pass


def start_and_join(method, count):
    context = multiprocessing.get_context(method)
    begun = time.perf_counter()
    processes = [context.Process(target=nothing, args=(7,)) for _ in range(count)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    elapsed = time.perf_counter() - begun
    assert all(process.exitcode == 0 for process in processes)
    return elapsed / count


def main():
    for line in sys.stdin:
        words = line.split()
        if words == ["version"]:
            print(sys.version_info[0] * 100 + sys.version_info[1], flush=True)
        else:
            print(start_and_join(words[0], int(words[1])), flush=True)


if __name__ == "__main__":
    main()
