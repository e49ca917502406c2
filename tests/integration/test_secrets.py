#!/usr/bin/python3
"""No password, given in whatever way, well-formed or not, is in any byte of the ledger or of a report.

It is a random token, LEFT + something special + RIGHT, made of letters that no ordinary
text has in such an order; what is looked for is every piece of four letters of LEFT and of RIGHT. Numbers of a ledger
may happen to spell four letters: there, the texts are searched for four and all bytes for six.
"""

import os
import random
import re
import shlex
import shutil
import stat
import tempfile

from pqlease_test import *
from report_checks import *

ROLE = "secretive_role"
cluster = Cluster("--tcp", "--hba", "host all %s all scram-sha-256" % ROLE)
# Some of what is malformed is taken for a host name.
QUICK_DNS = {"RES_OPTIONS": "timeout:1 attempts:1", "LOCALDOMAIN": ""}

LETTERS = "QXZJKVWqxzjkvw"
PIECE = 4
LONG_PIECE = 6
CULPRITS_NAMED = 5
SPECIAL = "/@#?:%&=+ '\"\\[],;$!*"


class Token:
    """A random password around a special text."""

    def __init__(self, special=""):
        self.left = "".join(random.SystemRandom().choice(LETTERS) for _ in range(9))
        self.right = "".join(random.SystemRandom().choice(LETTERS) for _ in range(9))
        self.text = self.left + special + self.right

    def pieces(self, length=PIECE):
        return {half[i:i + length] for half in (self.left, self.right) for i in range(len(half) - length + 1)}

    def leaked_in(self, output, length=PIECE):
        return sorted(piece for piece in self.pieces(length) if piece.encode() in output)


def contents_of(ledger):
    """All its bytes but for long empty parts, which take most of the time to search; and its texts."""
    with open(ledger, "rb") as file:
        everything = re.sub(rb"\0{64,}", b"\0", file.read())
    return everything, b"\n".join(re.findall(rb"[^\0-\x1f]{%d,}(?=\0)" % PIECE, everything))


def written_to(ledger, when=""):
    everything, texts = contents_of(ledger)
    return {"ledger's bytes" + when: (everything, LONG_PIECE), "ledger's texts" + when: (texts, PIECE)}


def everything_written(run):
    """{place: (bytes, how long a piece is looked for there)} of the ledger, the reports, and stderr."""
    written = written_to(run.ledger)
    for name, options in (("text report", ["--full"]), ("JSON report", ["--format=json"])):
        shown = pqlease("report", *options, run.ledger).check_status(0)
        written[name] = (shown.stdout + shown.stderr, PIECE)
    # Symbols may have been kept in the ledger by the report.
    written.update(written_to(run.ledger, " after a report"))
    written["stderr"] = (run.stderr, PIECE)
    return written


def leaks_of(run, tokens):
    """What is found of which token, and where."""
    found = []
    for place, (output, length) in everything_written(run).items():
        for token in tokens:
            leaked = token.leaked_in(output, length)
            if leaked:
                found.append("%s of %s in the %s" % (" ".join(leaked), token.text, place))
    return found


def check_no_leak(run, tokens, what):
    check_equal([], leaks_of(run, tokens), "secrets that were written (%s)" % what)


def run_ways(lines, env=None, expect=None, ledger=None):
    """`lines` is {way: (token, line of conninfo_ways)}, all for one program; `expect` is how each should end."""
    script = "".join(line + "\n" for _, line in lines.values())
    run = run_with_shim([fixture("conninfo_ways")], stdin=script, ledger=ledger,
                        env=dict(QUICK_DNS, PQLEASE_VERBOSE="1", **(env or {})))
    said = run.check_status(0).stdout.decode().split("\n")[:-1]
    check_equal(len(lines), len(said), "attempts that the program made")
    if expect is not None:
        others = [way for way, word in zip(lines, said) if word != expect]
        check_equal([], others, "ways that should have %s" % expect)
    return run


def check_all_recorded(parsed, count):
    totals = parsed["totals"]
    check_equal(count, totals["attempts"] + totals["probes"], "attempts and probes (%r)" % totals)
    check_nothing_lost(parsed)


def culprits(lines, env):
    """The ways that write a secret even when each is the only one."""
    found = []
    for way, (token, line) in lines.items():
        if len(found) < CULPRITS_NAMED:
            leaks = leaks_of(run_ways({way: (token, line)}, env), [token])
            found += ["%s: %s" % (way, leak) for leak in leaks[:1]]
    return found


def try_ways(lines, env=None, expect=None):
    run = run_ways(lines, env, expect)
    check_all_recorded(run.report(), len(lines))
    leaks = leaks_of(run, {token for token, _ in lines.values()})
    check(not leaks, "secrets were written:\n" + "\n".join(leaks + culprits(lines, env) if leaks else []))


def try_environments(ways, expect=None):
    """`ways` is {way: (token, environment, conninfo)}: a program for each, all in one ledger."""
    ledger = os.path.join(ledger_directory(), "run.ledger")
    said = b""
    for way, (token, env, conninfo) in ways.items():
        run = run_ways({way: (token, "db\t" + conninfo)}, env, expect, ledger)
        said += run.stderr
    run.stderr = said
    check_all_recorded(run.report(), len(ways))
    check_no_leak(run, {token for token, _, _ in ways.values()}, ", ".join(ways))


def make_role(password):
    cluster.query("DROP ROLE IF EXISTS %s" % ROLE)
    cluster.query("CREATE ROLE %s LOGIN PASSWORD '%s'" % (ROLE, password.replace("'", "''")))


def percent(text):
    return "".join(letter if letter.isalnum() else "%%%02X" % ord(letter) for letter in text)


def quoted(text):
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def address():
    return "127.0.0.1:%d" % cluster.port


def keywords(**words):
    base = {"host": "127.0.0.1", "port": cluster.port, "user": ROLE, "sslmode": "disable", "gssencmode": "disable"}
    base.update(words)
    return " ".join("%s=%s" % pair for pair in base.items())


# --- Well-formed -----------------------------------------------------------------------------------------------


def well_formed_ways(text, database):
    """All ways to say a password so that libpq understands it."""
    uri = "postgresql://%s:%s@%s/%s" % (ROLE, percent(text), address(), database)
    port = str(cluster.port)
    return {
        "keywords": "db\t" + keywords(dbname=database, password=quoted(text)),
        "keywords, spaced": "db\t" + keywords(dbname=database) + "  password  =  " + quoted(text),
        "keywords, started": "start\t" + keywords(dbname=database, password=quoted(text)),
        "keywords, reset": "reset\t" + keywords(dbname=database, password=quoted(text)),
        "URI": "db\t" + uri,
        "URI, other scheme": "db\t" + uri.replace("postgresql:", "postgres:"),
        "URI, parameter": "db\tpostgresql://%s@%s/%s?password=%s" % (ROLE, address(), database, percent(text)),
        "URI, all parameters": "db\tpostgresql:///?user=%s&password=%s&host=127.0.0.1&port=%s&dbname=%s" %
                               (ROLE, percent(text), port, database),
        "URI, started": "start\t" + uri,
        "params": "\t".join(["params", "0", "host", "127.0.0.1", "port", port, "user", ROLE, "password", text,
                             "dbname", database]),
        "params, URI as dbname": "\t".join(["params", "1", "dbname", uri]),
        "params, keywords as dbname": "\t".join(
            ["params", "1", "dbname", keywords(dbname=database, password=quoted(text))]),
        "login": "\t".join(["login", "127.0.0.1", port, "", "", database, ROLE, text]),
        "login, URI as database": "\t".join(["login", "", "", "", "", uri, "", ""]),
        "ping": "ping\t" + keywords(dbname=database, password=quoted(text)),
        "ping, URI": "ping\t" + uri,
    }


def as_lines(token, ways):
    return {"%s (%s)" % (way, token.text): (token, line) for way, line in ways.items() if "ping" not in way}


@test
def right_passwords_that_libpq_understands():
    for special in ("", "/", "@", "' \"", "%41\\", ":#?&=["):
        token = Token(special)
        make_role(token.text)
        lines = as_lines(token, well_formed_ways(token.text, "postgres"))
        try_ways(lines, expect="established")


@test
def wrong_passwords_that_libpq_understands():
    make_role("something else")
    lines = {}
    for special in ("", "/", "@", "' \"", "%41\\", ":#?&=["):
        token = Token(special)
        lines.update(as_lines(token, well_formed_ways(token.text, "postgres")))
    try_ways(lines, expect="failed")


@test
def probes_with_passwords():
    make_role("something else")
    lines = {}
    for special in ("", "@", "/"):
        token = Token(special)
        lines.update({way + special: (token, line) for way, line in well_formed_ways(token.text, "postgres").items()
                      if "ping" in way})
        lines["malformed " + special] = (token, "ping\tpostgres://u:%s@%s" % (token.text, address()))
    try_ways(lines)


# --- Malformed, or in the wrong place ---------------------------------------------------------------------------


def malformed_ways(special):
    """{way: (token, line)}"""
    token = Token(special)
    patterns = {
        "raw in a URI": "postgres://user:{}@%(address)s/db",
        "raw in a URI without port": "postgres://user:{}@host",
        "raw in a URI, numeric start": "postgresql://user:1234{}@host/db",
        "as the host of a URI": "postgres://{}/db",
        "as the host of a URI behind a user": "postgres://user@{}:%(port)s/db",
        "as the port of a URI": "postgres://user@127.0.0.1:{}/db",
        "in an IPv6 address": "postgres://user@[{}]/db",
        "in an unclosed IPv6 address": "postgres://user:{}@[::1/db",
        "behind the database": "postgres://user@127.0.0.1:1/db?{}",
        "bad escape": "postgres://user:{}%%zz@%(address)s/db",
        "forbidden escape": "postgres://user:{}%%00@%(address)s/db",
        "parameter without value": "postgres://user@%(address)s/db?password{}",
        "unknown parameter": "postgres://user@%(address)s/db?passwort={}",
        "two values": "postgres://user@%(address)s/db?password={}=x",
        "scheme in capitals": "Postgres://user:{}@%(address)s/db",
        "scheme with one slash": "postgres:/user:{}@%(address)s/db",
        "scheme without colon": "postgresql//user:{}@%(address)s/db",
        "no scheme": "user:{}@%(address)s/db",
        "other scheme": "mysql://user:{}@%(address)s/db",
        "two URIs": "postgres://postgres://user:{}@%(address)s/db",
        "port with a number": "postgres://user:1234/{}@host/db",
        "just the password": "{}",
        "missing =": "host=127.0.0.1 port=1 password {}",
        "missing = at the end": "host=127.0.0.1 port=1 password={} nonsense",
        "unterminated quote": "host=127.0.0.1 port=1 password='{}",
        "quote at the end": "host=127.0.0.1 port=1 password={}'",
        "backslash at the end": "host=127.0.0.1 port=1 password={}\\",
        "unknown keyword": "host=127.0.0.1 port=1 passwd={}",
        "as the port": "host=127.0.0.1 port={}",
        "as the host": "host={} port=1",
        "as an address": "hostaddr={} port=1",
        "as the host, with an @": "host=user:{}@host port=1",
        "URI as the host": "host='postgres://user:{}@host/db' port=1",
        "URI as the database": "host=127.0.0.1 port=%(port)s user=postgres dbname='postgres://user:{}@host/db'",
        "keywords as the database": "host=127.0.0.1 port=%(port)s user=postgres dbname='password={}'",
        "as sslmode": "host=127.0.0.1 port=1 sslmode='{}'",
        "as connect_timeout": "host=127.0.0.1 port=1 connect_timeout='{}'",
        "in options": "host=127.0.0.1 port=%(port)s user=postgres dbname=postgres options='-c work_mem={}'",
        "unknown in options": "host=127.0.0.1 port=%(port)s user=postgres dbname=postgres options='--{}=1'",
        "in a service": "service={}",
        "as target_session_attrs": "host=127.0.0.1 port=1 target_session_attrs='{}'",
        "second host of a URI": "postgres://127.0.0.1:1,{}/word@host/db",
        "second host, with a port": "postgres://127.0.0.1:1,{}:2/word@host/db",
        "several hosts of a URI": "postgres://user:{}@host,other:1/db",
        "application name": "host=127.0.0.1 port=1 application_name='postgres://user:{}@host/db'",
        "unexpected end": "host=127.0.0.1 port=1 password={} host=",
        "sslpassword": "host=127.0.0.1 port=1 sslpassword={}",
        "passfile": "host=127.0.0.1 port=1 passfile=/nonexistent/{}",
    }
    ways = {}
    for name, pattern in patterns.items():
        for function in ("db", "start"):
            words = {"address": address(), "port": cluster.port}
            ways["%s (%s, %r)" % (name, function, special)] = (
                token, function + "\t" + (pattern % words).replace("{}", token.text))
    for name in ("host", "hostaddr", "port", "dbname", "user", "options", "sslmode", "service", "nonsense"):
        for expand in ("0", "1"):
            argument = "postgres://user:%s@host/db" % token.text if name != "port" else token.text
            ways["params %s, expanded %s (%r)" % (name, expand, special)] = (
                token, "\t".join(["params", expand, "host", "127.0.0.1", "port", "1", name, argument]))
    ways["params dbname malformed (%r)" % special] = (
        token, "params\t1\tdbname\thost=127.0.0.1 port=1 password='" + token.text)
    for place, name in enumerate(("host", "port", "options", "tty", "database", "user")):
        arguments = ["127.0.0.1", "1", "", "", "db", "user", ""]
        arguments[place] = "user:%s@host" % token.text
        ways["login %s (%r)" % (name, special)] = (token, "\t".join(["login"] + arguments))
    return ways


def check_malformed(specials):
    lines = {}
    for special in specials:
        lines.update(malformed_ways(special))
    try_ways(lines, env={"PGCONNECT_TIMEOUT": 2})


@test
def malformed_ways_without_special_letters():
    check_malformed([""])


@test
def malformed_ways_with_slash_and_at():
    check_malformed(["/", "@"])


@test
def malformed_ways_with_other_uri_letters():
    check_malformed(["#", "?", ":"])


@test
def malformed_ways_with_quotes_and_spaces():
    check_malformed(["'", " ", "\"", "\\"])


@test
def malformed_ways_with_the_rest():
    check_malformed(["%", "&", "=", ","])


@test
def malformed_numeric_passwords():
    """`user:48613/56@host/db`: what libpq takes for a port is the password's beginning, and what it takes for a host
    is the user, which may well be the name of a host, too: then a server is contacted."""
    secret = "48613"
    for user in ("user", "127.0.0.1", "localhost"):
        db = cluster.fresh_database()
        uri = "postgres://%s:%s/56@host/db" % (user, secret)
        lines = ["%s\t%s\n" % (function, uri) for function in ("db", "start", "reset")]
        run = run_with_shim([fixture("conninfo_ways")], stdin="".join(lines), db=db, env=QUICK_DNS)
        check_equal(b"failed\n" * 3, run.check_status(0).stdout, "what the program says")
        ports = [str(pool["port"]) for pool in run.report()["pools"]]
        check(secret not in ports, "%s: the start of a password became a port: %r" % (user, ports))
        texts = contents_of(run.ledger)[1]
        check(secret.encode() not in texts, "%s: the start of a password is in the ledger" % user)


# --- From the environment and from files -----------------------------------------------------------------------


def secret_file(text):
    directory = tempfile.mkdtemp(prefix="pqlease-secrets-")
    cleanup(shutil.rmtree, directory, ignore_errors=True)
    path = os.path.join(directory, "file")
    with open(path, "w") as file:
        file.write(text)
    os.chmod(path, stat.S_IRUSR | stat.S_IWUSR)
    return path


def environment_ways(token):
    """{way: (environment, conninfo)}, all of which give the role's password as the token."""
    entry = token.text.replace("\\", "\\\\").replace(":", "\\:")
    passfile = secret_file("127.0.0.1:%d:*:%s:%s\n" % (cluster.port, ROLE, entry))
    service = secret_file("[secretive]\nhost=127.0.0.1\nport=%d\nuser=%s\ndbname=postgres\npassword=%s\n" %
                          (cluster.port, ROLE, token.text))
    plain = keywords(dbname="postgres")
    no_tls = "sslmode=disable gssencmode=disable"
    return {
        "PGPASSWORD": ({"PGPASSWORD": token.text}, plain),
        "PGPASSFILE": ({"PGPASSFILE": passfile}, plain),
        "passfile": ({}, plain + " passfile=" + passfile),
        "PGSERVICEFILE": ({"PGSERVICEFILE": service}, "service=secretive " + no_tls),
        "PGSERVICE": ({"PGSERVICEFILE": service, "PGSERVICE": "secretive"}, no_tls),
    }


@test
def passwords_from_the_environment_and_files():
    for special in ("", "/@", "'\"\\"):
        right = Token(special)
        make_role(right.text)
        try_environments({way: (right, env, conninfo) for way, (env, conninfo) in environment_ways(right).items()},
                         expect="established")
        wrong = Token(special)
        try_environments({way: (wrong, env, conninfo) for way, (env, conninfo) in environment_ways(wrong).items()},
                         expect="failed")


@test
def malformed_environment():
    ways = {}
    for name in ("PGHOST", "PGHOSTADDR", "PGPORT", "PGUSER", "PGDATABASE", "PGOPTIONS", "PGSERVICE", "PGAPPNAME"):
        for pattern in ("postgres://user:%s@host/db", "password=%s", "user:%s@host"):
            token = Token("/")
            env = {"PGHOST": "127.0.0.1", "PGPORT": cluster.port, "PGUSER": "postgres", "PGDATABASE": "postgres"}
            env[name] = pattern % token.text
            ways["%s=%s" % (name, pattern)] = (token, env, "")
    try_environments(ways)


# --- Command lines ---------------------------------------------------------------------------------------------


def command_lines(token, psql):
    uri = "postgresql://%s:%s@%s/postgres" % (ROLE, percent(token.text), address())
    words = keywords(dbname="postgres", password=quoted(token.text))
    return {
        "URI": [psql, "-XAtc", "select 1", uri],
        "URI as an option": [psql, "-XAtc", "select 1", "--dbname=" + uri],
        "URI as an option's word": [psql, "-XAtc", "select 1", "-d", uri],
        "keywords": [psql, "-XAtc", "select 1", words],
        "environment": ["/usr/bin/env", "PGPASSWORD=" + token.text, psql, "-XAtc", "select 1",
                        keywords(dbname="postgres")],
        "shell": ["/bin/sh", "-c", "PGPASSWORD=%s %s -XAtc 'select 1' '%s'" %
                  (shlex.quote(token.text), psql, keywords(dbname="postgres"))],
        "shell with a URI": ["/bin/sh", "-c", "%s -XAtc 'select 1' %s" % (psql, shlex.quote(uri))],
        "script": [PYTHON, "-c", "import psycopg2; print(psycopg2.connect(%r).close())" % uri],
        "option with a value": ["/bin/sh", "-c", "exec %s -XAtc 'select 1' '%s'" % (psql, uri), "sh",
                                "--password=" + token.text],
        "raw URI, malformed": [psql, "-XAtc", "select 1", "postgres://user:%s@nosuch.invalid" % token.text],
    }


@test
def command_lines_under_run():
    for special in ("", "/", "@"):
        token = Token(special)
        make_role(token.text)
        for way, argv in command_lines(token, cluster.bin("psql")).items():
            run = run_pqlease(argv, env={"PQLEASE_VERBOSE": "1"})
            if "malformed" in way:
                # psql itself quotes the conninfo; what is ours begins behind its message.
                run.stderr = run.stderr.partition(b"\n")[2]
            else:
                run.check_status(0)
            check_no_leak(run, [token], way)
            listed = pqlease("ls", env={"PQLEASE_LEDGER": run.ledger})
            check(not token.leaked_in(listed.stdout + listed.stderr), "%s: in the list of ledgers" % way)


@test
def command_lines_in_raw_use():
    token = Token("@")
    make_role(token.text)
    for way, argv in command_lines(token, cluster.bin("psql")).items():
        run = run_with_shim(argv)
        if "malformed" in way:
            run.stderr = b""
        else:
            run.check_status(0)
        check_no_leak(run, [token], way)


# --- The test itself -------------------------------------------------------------------------------------------


@test
def what_may_be_written_is_found():
    """A token in a place that is recorded is found everywhere: the search is able to find."""
    token = Token()
    run = run_with_shim([fixture("conninfo_ways")], db=cluster.fresh_database(), env=QUICK_DNS,
                        stdin="db\tapplication_name=%s\n" % token.text)
    written = everything_written(run.check_status(0))
    for place, (output, length) in written.items():
        if place not in ("stderr", "text report"):
            check_equal(sorted(token.pieces(length)), token.leaked_in(output, length), "pieces found in the " + place)


main()
