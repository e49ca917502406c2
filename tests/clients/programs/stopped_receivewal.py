"""pg_receivewal, stopped by SIGINT when it has begun to write: PROGRAM DIRECTORY."""
import glob
import os
import signal
import subprocess
import sys
import time

program, directory = sys.argv[1:]
os.makedirs(directory)
child = subprocess.Popen([program, "-D", directory])
deadline = time.monotonic() + 20
while not glob.glob(directory + "/*.partial") and child.poll() is None and time.monotonic() < deadline:
    time.sleep(0.01)
child.send_signal(signal.SIGINT)
sys.exit(child.wait(timeout=20))
