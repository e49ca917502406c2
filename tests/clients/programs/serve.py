"""What the drivers of servers share: start one, ask until every worker has answered, stop it by its pid."""
import subprocess
import sys
import tempfile
import time

PATIENCE_S = 20


def ask_all(ask, worker_count):
    """`ask()` gives (worker, answer), or None while there is no answer yet. Prints the answers without repetition."""
    deadline = time.monotonic() + PATIENCE_S
    answers = {}
    while len(answers) < worker_count:
        if time.monotonic() > deadline:
            sys.exit("only %d workers have answered" % len(answers))
        reply = ask()
        if reply is None:
            time.sleep(0.01)
        else:
            answers[reply[0]] = reply[1]
    print(len(answers), sorted(set(answers.values())), flush=True)


def serve(argv, ask, worker_count, stop_signal, **popen):
    """The server's own log holds pids and times: it is shown only if the server fails."""
    with tempfile.TemporaryFile() as log:
        server = subprocess.Popen(argv, stdout=log, stderr=log, **popen)
        try:
            ask_all(ask, worker_count)
        except SystemExit:
            log.seek(0)
            sys.stderr.write(log.read().decode(errors="replace"))
            raise
        finally:
            server.send_signal(stop_signal)
            status = server.wait(timeout=PATIENCE_S)
    return status
