"""measured.py FILE COMMAND...: runs the command and writes its peak memory (KiB) into the file.

A process of its own, because a child starts with the peak of whoever starts it, and the test runner is large.
"""

import resource
import subprocess
import sys

status = subprocess.call(sys.argv[2:])
with open(sys.argv[1], "w") as file:
    file.write(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss))
sys.exit(status if status >= 0 else 128 - status)
