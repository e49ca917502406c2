#!/usr/bin/python3
"""Node is recognised, and the report says that its places have no lines."""

from pqlease_test import *

cluster = Cluster()


@test
def node_is_recognised_and_said():
    db = cluster.fresh_database()
    run = same_behaviour([fixture("node_like")], db=db).check_status(0)
    parsed = run.report()
    check_server_agrees(parsed, db)
    check(any("of node: frames of this language are not read" in reason for reason in parsed["trust"]["reasons"]),
          parsed["trust"])
    check(parsed["trust"]["ok"], "a remark, no distrust")


@test
def other_programs_are_not_taken_for_it():
    db = cluster.fresh_database()
    parsed = same_behaviour([fixture("connect_loop"), "1"], db=db).report()
    check_equal([], [reason for reason in parsed["trust"]["reasons"] if "frames" in reason], "reasons")


main()
