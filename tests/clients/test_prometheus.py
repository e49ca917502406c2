#!/usr/bin/python3
"""A real Prometheus beside `pqlease serve`: it scrapes, sums the fleet, and fires the shipped alerts."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import urllib.parse
import urllib.request

for _folder in ("integration", "evaluate"):
    sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", _folder))
from pqlease_test import *
from live_service import Holder, Server
import verdicts

cluster = Cluster()
SHIPPED = os.path.join(ROOT, "scripts", "prometheus")


def promtool(*words, stdin=None):
    check(shutil.which("promtool"), "promtool is not installed")
    run = subprocess.run(["promtool", *words], cwd=SHIPPED, input=stdin, stdout=subprocess.PIPE,
                         stderr=subprocess.STDOUT, check=False)
    return run.returncode, run.stdout.decode()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Prometheus:
    """Scrapes the given servers every second with the shipped rules, whose `for:` are left out."""

    def __init__(self, servers, hosts):
        directory = ledger_directory()
        with open(os.path.join(SHIPPED, "rules.yml"), encoding="utf-8") as file:
            rules = re.sub(r"(?m)^( +for:) \d+m$", r"\1 0s", file.read())
        with open(os.path.join(directory, "rules.yml"), "w", encoding="utf-8") as file:
            file.write(rules)
        targets = "".join("""
      - targets: ["%s:%d"]
        labels: {host: "%s"}""" % (server.host, server.port, host) for server, host in zip(servers, hosts))
        with open(os.path.join(directory, "prometheus.yml"), "w", encoding="utf-8") as file:
            # The hosts of a fleet are played by one: the label of the target wins.
            file.write("""global: {scrape_interval: 1s, evaluation_interval: 1s}
rule_files: [rules.yml]
scrape_configs:
  - job_name: pqlease
    static_configs:%s
""" % targets)
        self.port = free_port()
        self.log = open(os.path.join(directory, "log"), "wb")
        self.process = subprocess.Popen(
            ["prometheus", "--config.file=" + os.path.join(directory, "prometheus.yml"),
             "--storage.tsdb.path=" + os.path.join(directory, "data"),
             "--web.listen-address=127.0.0.1:%d" % self.port], cwd=directory, stdout=self.log, stderr=self.log,
            env=clean_environment())
        cleanup(self.stop)

    def stop(self):
        self.process.terminate()
        self.process.wait()
        self.log.close()

    def ask(self, path, **parameters):
        url = "http://127.0.0.1:%d/api/v1/%s?%s" % (self.port, path, urllib.parse.urlencode(parameters))
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return json.load(answer)["data"]
        except OSError:
            return None

    def value_of(self, query, *labels):
        """{label values: value}"""
        data = self.ask("query", query=query)
        found = data["result"] if data else []
        return {tuple(entry["metric"].get(label) for label in labels): float(entry["value"][1]) for entry in found}

    def firing(self):
        data = self.ask("alerts")
        return {alert["labels"]["alertname"] for alert in data["alerts"] if alert["state"] == "firing"} if data else set()


@test
def promtool_is_content_with_what_is_shipped():
    for words in (("check", "rules", "rules.yml"), ("check", "config", "prometheus.yml"), ("test", "rules", "rules_test.yml")):
        status, output = promtool(*words)
        check(status == 0, "promtool %s:\n%s" % (" ".join(words), output))


@test
def promtool_is_content_with_the_metrics():
    db = cluster.fresh_database()
    holder = Holder(db, role="we\"ird\\\n\x01")
    holder.tell("open 3")
    holder.tell("use 1")
    metrics = Server("--limit", "30", "--aliases", holder.ledger).metrics()
    status, output = promtool("check", "metrics", stdin=metrics.encode())
    # Names are OpenTelemetry's: a gauge whose name ends in _count is all there is to complain about.
    complaints = [line for line in output.splitlines()
                  if "db_client_connection_count" not in line or "_count" not in line]
    check_equal([], complaints, "complaints (status %d)" % status)
    holder.quit()


@test
def every_name_in_rules_and_dashboard_exists():
    db = cluster.fresh_database()
    holder = Holder(db)
    holder.tell("open 3")
    holder.tell("use 1")
    metrics = Server("--limit", "30", holder.ledger).metrics()
    known = set(re.findall(r"^# TYPE (\S+) ", metrics, re.M))
    known |= {name + suffix for name in known for suffix in ("_bucket", "_sum", "_count")}
    with open(os.path.join(SHIPPED, "rules.yml"), encoding="utf-8") as file:
        rules = file.read()
    known |= set(re.findall(r"record: (\S+)", rules))
    with open(os.path.join(SHIPPED, "dashboard.json"), encoding="utf-8") as file:
        dashboard = json.load(file)
    expressions = re.findall(r"expr: (?:>\n\s+)?(.*)", rules)
    expressions += [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    check(len(expressions) > 20, "expressions were found")
    for expression in expressions:
        for name in re.findall(r"\b(?:pqlease[_:][\w:]+|db_client\w+)", re.sub(r'"[^"]*"|\{\{.*?\}\}', "", expression)):
            if name != "db_client_connection_state" and name != "db_client_connection_pool_name":
                check(name in known, "%s in %r is not exported" % (name, expression))
    holder.quit()


@test
def a_fleet_is_summed_and_its_alerts_fire():
    db = cluster.fresh_database()
    holders = [Holder(db, role) for role in ("web", "web", "job")]
    for holder, count in zip(holders, (4, 6, 10)):
        holder.tell("open %d" % count)
    holders[2].tell("use 10")
    servers = [Server("--limit", "10", holder.ledger) for holder in holders]
    prometheus = Prometheus(servers, ("a", "b", "c"))

    def by_role():
        return prometheus.value_of("pqlease:connections_open:by_role", "role")

    sessions = int(cluster.value("select count(*) from pg_stat_activity where datname = '%s'" % db.name))
    wait_until(lambda: sum(by_role().values()) == sessions, timeout=60, what="the fleet's sum is the server's count")
    check_equal({("web",): 10.0, ("job",): 10.0}, by_role(), "by role")
    lines = prometheus.value_of("sum by (location) (pqlease:site_connections_open:by_location)", "location")
    check_equal(sessions, int(sum(lines.values())), "by line of code")
    check(any("<string>" in location for (location,) in lines), "a line of the program: %r" % lines)
    wait_until(lambda: "PoolUsageCritical" in prometheus.firing(), timeout=60, what="the alert of the full pool")
    check("PoolUsageHigh" not in prometheus.firing(), "no other pool is high")
    # Exporters that are gone are told from pools that are empty.
    servers[0].stop()
    wait_until(lambda: "ExporterDown" in prometheus.firing(), timeout=60, what="the alert of the missing exporter")
    for holder in holders:
        holder.quit()


@test
def a_leak_fires_with_its_line():
    db = cluster.fresh_database()
    ledger = run_with_shim([fixture("leak_sites")], db=db).ledger
    server = Server(ledger)
    prometheus = Prometheus([server], ("a",))
    wait_until(lambda: "ConnectionsLeak" in prometheus.firing(), timeout=60, what="the alert of the leak")
    leaks = prometheus.value_of('pqlease_leaks_total{kind="never-finished"}', "location")
    check_equal(db.sessions().sessions_abandoned, int(sum(leaks.values())), "leaks are the server's abandoned sessions")
    check(all("leak_sites.c:" in location for (location,) in leaks), "lines of the program: %r" % leaks)


# Workload: capacity of its pool if there is one to say, and the alert that it must raise.
ALERTS = {
    "leak": (None, "ConnectionsLeak"),
    "undersized": ("3", "PoolUsageCritical"),
    "slow_queries": ("2", "PoolUsageCritical"),
    "held_idle": ("2", "PoolUsageCritical"),
    "role_contention": (None, "ConnectionsRefused"),
    "stampede": (None, "ConnectionsRefused"),
    "external": (None, "ConnectionsRefused"),
    "healthy": ("10", None),
}


# A sample; all of them take two minutes and are part of `make evaluate`.
SAMPLE = os.environ.get("PQLEASE_ALERTS", "leak undersized external healthy").split()


@test
def each_workload_raises_its_alert():
    for name in SAMPLE:
        capacity, expected = ALERTS[name]
        db = cluster.fresh_database()
        directory = ledger_directory()
        server = Server("--dir", directory, *(("--limit", capacity) if capacity else ()))
        prometheus = Prometheus([server], ("a",))
        wait_until(lambda: prometheus.value_of("up", "job"), timeout=60, what="the first scrape")
        verdicts.run_scenario(cluster, db, name, "c", ledger=os.path.join(directory, "run.ledger"))

        def raised():
            return {alert for (alert,) in prometheus.value_of("max_over_time(ALERTS[10m])", "alertname")}

        if expected:
            wait_until(lambda: expected in raised(), timeout=30, what="%s of %s" % (expected, name))
        else:
            check_equal(set(), raised() - {"Reconnects"}, "alerts of " + name)
        prometheus.stop()
        server.stop()


main()
