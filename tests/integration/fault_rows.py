"""Rows of the table of faults: what went wrong, what the program saw, what was said about the recording.

Tests keep a row for each fault that they have tried; `tests/integration/write_fault_table BUILD` makes BUILD/faults.md
of them, which is the table in the README.
"""

import json
import os
import re

from pqlease_test import BUILD

__all__ = ["keep_row"]

RESULTS = os.path.join(BUILD, "faults")


def keep_row(group, fault, said, detail="", saw="unchanged"):
    """`group` orders the table. Faults that differ in a detail only, and had the same answer, become one."""
    os.makedirs(RESULTS, exist_ok=True)
    name = re.sub(r"\W+", "_", "%s %s %s" % (group, fault, detail)) + ".json"
    with open(os.path.join(RESULTS, name), "w", encoding="utf-8") as text:
        json.dump({"group": group, "fault": fault, "detail": detail, "saw": saw, "said": said}, text)
