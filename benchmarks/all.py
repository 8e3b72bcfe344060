"""Every benchmark of speed, memory and start, one after the other. Leave the machine alone meanwhile.

python benchmarks/all.py --record
"""

import subprocess
import sys
from pathlib import Path

SCRIPTS = ("throughput", "stages", "scaling", "memory", "startup", "overhead")

if __name__ == "__main__":
    for script in SCRIPTS:
        print(f"=== {script}", file=sys.stderr, flush=True)
        subprocess.run([sys.executable, Path(__file__).with_name(f"{script}.py"), *sys.argv[1:]], check=True)
