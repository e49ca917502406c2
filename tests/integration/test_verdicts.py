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


HOARD = """
import psycopg2
held = []
for _ in range(120):
    try:
        held.append(psycopg2.connect(''))
    except psycopg2.OperationalError:
        pass
%s
"""


@test
def connections_that_were_never_used_are_not_held_in_transactions():
    db = cluster.fresh_database()
    cluster.query("CREATE ROLE hoarder LOGIN")
    for end, cause in (("", "leak"), ("import os; os._exit(0)", "leak"), ("[c.close() for c in held]", "undersized")):
        run = run_with_shim([PYTHON, "-c", HOARD % end], db=db, env={"PGUSER": "hoarder"}).check_status(0)
        parsed = run.report()
        check(parsed["totals"]["failed"] > 0, "the server was full")
        check_in("exhausted", [finding["kind"] for finding in parsed["findings"]], "findings")
        check_equal(cause, parsed["verdict"]["cause"], "the verdict of %r" % end)
        check("transaction" not in " ".join(parsed["verdict"]["advice"]) or cause == "leak", "advice on transactions")


main()
