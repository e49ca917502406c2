#!/usr/bin/python3
"""Formats for CI systems, read by others' programs: schemas, junitparser, a Markdown renderer. The hostile report is
that of tests/unit/analyzer/test_formats.c."""

import html.parser
import os
import re
import subprocess
import tempfile
import shutil

import jsonschema
import junitparser

from pqlease_test import *
import json

SCHEMAS = os.path.join(ROOT, "tests", "schemas")
cluster = Cluster()


def hostile_outputs():
    directory = tempfile.mkdtemp(prefix="pqlease-formats-")
    cleanup(shutil.rmtree, directory, ignore_errors=True)
    program = os.path.join(BUILD, "tests", "unit", "analyzer", "test_formats")
    execute_env = clean_environment(PQLEASE_FORMATS_DIRECTORY=directory)
    subprocess.run([program], env=execute_env, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def read(name):
        with open(os.path.join(directory, name), "rb") as file:
            return file.read()

    return directory, read


# --- Checks by format -------------------------------------------------------------------------------------------


def check_junit(path):
    run = run_plain(["xmllint", "--noout", "--schema", os.path.join(SCHEMAS, "junit-10.xsd"), path])
    check_equal(0, run.status, "xmllint: %s" % run.stderr.decode())
    suites = junitparser.JUnitXml.fromfile(path)
    cases = [case for suite in suites for case in suite]
    names = [(case.classname, case.name) for case in cases]
    check_equal(len(names), len(set(names)), "names of cases are unique")
    for attribute, kind in (("failures", junitparser.Failure), ("errors", junitparser.Error)):
        bad = [case for case in cases if any(isinstance(result, kind) for result in case.result)]
        check_equal(int(getattr(suites, attribute)), len(bad), attribute)
    check_equal(len(cases), int(suites.tests), "tests")
    check(not any("file" in case._elem.attrib for case in cases), "no file attribute: Jenkins refuses it")
    return cases


def failed(cases):
    return [case.name for case in cases if any(isinstance(result, junitparser.Failure) for result in case.result)]


def check_sarif(text):
    with open(os.path.join(SCHEMAS, "sarif-schema-2.1.0.json"), encoding="utf-8") as file:
        schema = json.load(file)
    log = json.loads(text)
    jsonschema.Draft4Validator(schema, format_checker=jsonschema.draft4_format_checker).validate(log)
    run = log["runs"][0]
    rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    for result in run["results"]:
        if result["ruleIndex"] >= 0:
            check_equal(result["ruleId"], rules[result["ruleIndex"]], "ruleIndex")
    return run


COMMAND = re.compile(r"::(error|warning|notice) ((?:[a-z]+=[^,:]*)(?:,[a-z]+=[^,:]*)*)::(.*)")


def unescape(text):
    for code, character in (("%0D", "\r"), ("%0A", "\n"), ("%3A", ":"), ("%2C", ","), ("%25", "%")):
        text = text.replace(code, character)
    return text


def github_annotations(text):
    annotations = []
    for line in text.decode("utf-8").splitlines():
        match = COMMAND.fullmatch(line)
        check(match, "not a workflow command: %r" % line)
        properties = dict(pair.split("=", 1) for pair in match.group(2).split(","))
        properties = {name: unescape(value) for name, value in properties.items()}
        annotations.append((match.group(1), properties, unescape(match.group(3))))
    return annotations


def check_gitlab(text):
    entries = json.loads(text)
    fingerprints = [entry["fingerprint"] for entry in entries]
    check_equal(len(fingerprints), len(set(fingerprints)), "fingerprints are unique")
    for entry in entries:
        check_equal({"description", "check_name", "fingerprint", "severity", "location"}, set(entry), "keys")
        check(entry["severity"] in ("info", "minor", "major", "critical", "blocker"), "severity")
        check(entry["location"]["path"] and entry["location"]["lines"]["begin"] >= 1, "location")
    return entries


class Page(html.parser.HTMLParser):
    """The elements of a rendered page, and the text of its table cells and code."""

    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.elements = []
        self.cells = []
        self.inside = []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, tuple(attrs)))
        self.inside.append(tag)
        if tag == "td":
            self.cells.append("")

    def handle_endtag(self, tag):
        while self.inside and self.inside.pop() != tag:
            pass

    def handle_comment(self, data):
        raise AssertionError("a comment: %r" % data)

    def handle_data(self, data):
        if "td" in self.inside:
            self.cells[-1] += data


PLAIN_ELEMENTS = {"h2", "h3", "p", "table", "thead", "tbody", "tr", "th", "td", "code", "pre", "details", "summary", "ul", "li"}


def check_markdown(text):
    rendered = subprocess.run(["cmark-gfm", "--unsafe", "-e", "table", "-e", "autolink", "-e", "strikethrough"],
                              input=text, stdout=subprocess.PIPE, check=True).stdout.decode("utf-8")
    page = Page()
    page.feed(rendered)
    strange = {tag for tag, _ in page.elements} - PLAIN_ELEMENTS
    check_equal(set(), strange, "elements of a page that foreign text made")
    attributes = {name for _, attrs in page.elements for name, _ in attrs}
    check(attributes <= {"align"}, "attributes: %r" % attributes)
    return page


# --- Hostile names ----------------------------------------------------------------------------------------------


@test
def junit_survives_hostile_names():
    directory, _ = hostile_outputs()
    cases = check_junit(os.path.join(directory, "plain.junit"))
    check_in("test_c[x::y]", [case.name for case in cases], "cases")
    check_in("tests.test_a.TestB", [case.classname for case in cases], "classes")
    check_equal(3, len(failed(cases)), "two places and the test of one of them fail")
    cases = check_junit(os.path.join(directory, "gate.junit"))
    check_in("max-open", failed(cases), "budgets are cases too")
    check_equal(3, len(failed(cases)), "the gate failed by one finding, in a test and outside, and by a budget")


@test
def sarif_survives_hostile_names():
    _, read = hostile_outputs()
    run = check_sarif(read("plain.sarif"))
    check_equal(["error", "error", "warning", "note"], [result["level"] for result in run["results"]], "levels")
    uri = run["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"]
    check_equal("SRCROOT", uri["uriBaseId"], "base of a file below the root")
    check(re.fullmatch(r"(?:[\w.~/-]|%[0-9A-F]{2})+", uri["uri"], re.ASCII), "uri: %r" % uri)
    long_uri = run["results"][1]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
    check_equal("file:///" + "p" * 9999, long_uri, "a long path")
    run = check_sarif(read("gate.sarif"))
    states = [result["baselineState"] for result in run["results"]]
    check_equal(["updated", "unchanged", "new", "new", "absent"], states, "baselineState")
    check_equal([0, 0, 1, 0], [len(result["suppressions"]) for result in run["results"][:4]], "suppressions")
    check_equal([4, 1, 2, 1], [result["occurrenceCount"] for result in run["results"][:4]], "occurrenceCount")


@test
def github_annotations_survive_hostile_names():
    _, read = hostile_outputs()
    annotations = github_annotations(read("plain.github"))
    check_equal(["warning", "error", "error", "warning", "notice"], [level for level, _, _ in annotations], "levels")
    check_in(r"\x0d\x0a::error::e<script>", annotations[1][1]["file"], "the file, made printable")
    check_equal("25", annotations[1][1]["line"], "line")
    check_equal("/" + "p" * 9999, annotations[2][1]["file"], "a long path")
    levels = [level for level, _, _ in github_annotations(read("gate.github"))]
    check_equal(["error", "error", "notice", "notice", "error"], levels, "levels with a gate")


@test
def gitlab_survives_hostile_names():
    _, read = hostile_outputs()
    check_equal(4, len(check_gitlab(read("plain.gitlab"))), "entries")
    entries = check_gitlab(read("gate.gitlab"))
    check_equal(["critical", "info", "info"], [entry["severity"] for entry in entries], "what the gate forgives is info")


@test
def markdown_survives_hostile_names():
    _, read = hostile_outputs()
    for name in ("plain.markdown", "gate.markdown"):
        page = check_markdown(read(name))
        rows = [cell for cell in page.cells if "]]>b::c%0A,d" in cell]
        check_equal(2, len(rows), "cells with the hostile place and test in %s" % name)
        check_in(r"::error::e<script>&amp;\"'\x01\x1b[31m\x7f|`*_#@x \xff\xc0\xaf\xe2\x80\xae".replace('\\"', '"'),
                 rows[0], "the text of the cell")


@test
def json_survives_hostile_names():
    _, read = hostile_outputs()
    report = json.loads(read("plain.json"))
    check_equal(3, len(report["tests"]), "tests")


# --- Real runs --------------------------------------------------------------------------------------------------


@test
def several_formats_of_one_run():
    db = cluster.fresh_database()
    directory = ledger_directory()
    names = ("json", "junit", "sarif", "github", "gitlab", "markdown", "text")
    outputs = {name: os.path.join(directory, "out." + name) for name in names}
    summary = os.path.join(directory, "summary.md")
    with open(summary, "w") as file:
        file.write("# before\n")
    options = [word for name in names for word in ("--output", "%s=%s" % (name, outputs[name]))]
    run = run_pqlease([fixture("orders")], "--report=none", "--source-root", ROOT, *options, db=db,
                      env={"GITHUB_STEP_SUMMARY": summary})
    check(b"pqlease" not in run.stderr, "nothing of our own on stderr")
    texts = {name: open(path, "rb").read() for name, path in outputs.items()}
    leaks = db.sessions().sessions_abandoned
    finding = json.loads(texts["json"])["findings"][0]
    check_equal(leaks, finding["count"], "leases never finished, against the server")
    check_equal(1, len(failed(check_junit(outputs["junit"]))), "failed cases")
    result = check_sarif(texts["sarif"])["results"][0]
    check_equal(leaks, result["occurrenceCount"], "occurrenceCount")
    where = result["locations"][0]["physicalLocation"]
    check_equal("tests/fixtures/orders.c", where["artifactLocation"]["uri"], "uri")
    level, properties, _ = github_annotations(texts["github"])[0]
    check_equal(("error", "tests/fixtures/orders.c", str(where["region"]["startLine"])),
                (level, properties["file"], properties["line"]), "annotation")
    check_equal("tests/fixtures/orders.c", check_gitlab(texts["gitlab"])[0]["location"]["path"], "path")
    check_in("orders.c:", "".join(check_markdown(texts["markdown"]).cells), "markdown")
    with open(summary, "rb") as file:
        check_equal(b"# before\n" + texts["markdown"], file.read(), "job summary is added to")
    again = pqlease("report", "--format=sarif", "--source-root", ROOT, run.ledger)
    check_equal(texts["sarif"], again.stdout, "the same ledger gives the same bytes")


@test
def formats_show_what_the_gate_decided():
    db = cluster.fresh_database()
    ledger = run_pqlease([fixture("orders")], "--report=none", db=db).ledger
    directory = ledger_directory()
    names = {name: os.path.join(directory, name) for name in ("baseline", "junit", "sarif", "gitlab", "summary")}
    words = ["--format=github", "--output", "junit=" + names["junit"], "--output", "sarif=" + names["sarif"],
             "--output", "gitlab=" + names["gitlab"], "--source-root", ROOT, ledger]
    env = {"GITHUB_STEP_SUMMARY": names["summary"]}
    run = pqlease("check", *words, env=env)
    check_equal(1, run.status, "status without a baseline")
    check_equal(["error"], [level for level, _, _ in github_annotations(run.stdout)], "annotations")
    check_equal(1, len(failed(check_junit(names["junit"]))), "failed cases")
    with open(names["summary"], "rb") as file:
        check_in(b"## pqlease: failed", file.read(), "job summary")
    pqlease("check", "--write-baseline", names["baseline"], "--reason", "known", ledger).check_status(0)
    run = pqlease("check", "--baseline", names["baseline"], "--fail-on", "new", *words, env=env)
    check_equal(0, run.status, "status with a baseline (%r)" % run.stderr)
    check_equal(["notice"], [level for level, _, _ in github_annotations(run.stdout)], "annotations of what is known")
    check_equal([], failed(check_junit(names["junit"])), "failed cases of what is known")
    with open(names["sarif"], "rb") as file:
        check_equal(["unchanged"], [result["baselineState"] for result in check_sarif(file.read())["results"]], "state")
    with open(names["gitlab"], "rb") as file:
        check_equal(["info"], [entry["severity"] for entry in check_gitlab(file.read())], "severity")


@test
def wrong_formats_and_files_are_refused():
    for words in (["--format=html5"], ["--output", "junit"], ["--output", "nothing=x"], ["--output", "junit="]):
        run = pqlease("report", *words)
        check_equal(64, run.status, "status of %r" % words)
        check_equal(1, run.stderr.count(b"\n"), "lines of error")
    check_equal(64, pqlease("run", "--report=yaml", "--", "true").status, "run --report")
    check_equal(64, pqlease("report", "--source-root", "/nonexistent").status, "source root")
    run = run_pqlease(["true"], "--report=none")
    written = pqlease("report", "--output", "junit=/nonexistent/x.xml", run.ledger)
    check_equal(2, written.status, "status when a file cannot be written")
    check_equal(1, written.stderr.count(b"\n"), "lines of error")


main()
