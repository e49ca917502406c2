#!/usr/bin/python3
"""Every workload of verdicts.py in every language, PQLEASE_VERDICT_RUNS times (20) in a shuffled order, three at a time. Prints
how often each verdict was right; the status is 1 if one was wrong."""

import collections
import os
import random
import sys
from concurrent.futures import ThreadPoolExecutor

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "integration")]

from pqlease_test import Cluster, run_cleanups
import verdicts

RUNS = int(os.environ.get("PQLEASE_VERDICT_RUNS", "20"))
SEED = int(os.environ.get("PQLEASE_VERDICT_SEED", "20240229"))
AT_ONCE = 3


def main():
    cluster = Cluster()
    runs = [(name, language) for name in verdicts.SCENARIOS for language in verdicts.LANGUAGES] * RUNS
    random.Random(SEED).shuffle(runs)
    db = cluster.fresh_database()  # one for all: nothing here is judged by its counts
    wrong = collections.defaultdict(list)

    def play(number):
        name, language = runs[number]
        problem = verdicts.judge(name, language, verdicts.run_scenario(cluster, db, name, language))
        if problem:
            wrong[name, language].append(problem)
            print(problem, flush=True)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(play, range(len(runs))))
    run_cleanups()
    for name in verdicts.SCENARIOS:
        for language in verdicts.LANGUAGES:
            print("%-16s %-7s %d of %d right" % (name, language, RUNS - len(wrong[name, language]), RUNS))
    sys.exit(1 if any(wrong.values()) else 0)


if __name__ == "__main__":
    main()
