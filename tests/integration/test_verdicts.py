#!/usr/bin/python3
"""Workloads whose trouble is known, in two languages: the verdict is the right one, or unsure where it must be."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "evaluate"))

from pqlease_test import *
import verdicts

cluster = Cluster()


def make(name, language):
    def scenario():
        db = cluster.fresh_database()
        problem = verdicts.judge(name, language, verdicts.run_scenario(cluster, db, name, language))
        check(problem is None, problem)

    scenario.__name__ = "%s_in_%s" % (name, language)
    test(scenario)


for name in verdicts.SCENARIOS:
    for language in verdicts.LANGUAGES:
        make(name, language)

main()
