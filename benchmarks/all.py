"""Every benchmark, one after the other: python benchmarks/all.py --record. Leave the machine alone meanwhile."""

import subprocess
import sys
from pathlib import Path

SCRIPTS = ("throughput", "stages", "scaling", "memory", "startup", "overhead")

if __name__ == "__main__":
    for script in SCRIPTS:
        print(f"=== {script}", file=sys.stderr, flush=True)
        subprocess.run([sys.executable, Path(__file__).with_name(f"{script}.py"), *sys.argv[1:]], check=True)
