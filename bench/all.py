"""Every benchmark, one after the other, each in a process of its own: what `make bench` runs.

`python bench/all.py --rows 500000 --json folder` gives `--rows` to each and writes `forms.json`
and `sync.json` into the folder.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
BENCHMARKS = ("forms", "sync")


def main() -> None:
    """Run them; the first that fails ends it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    if asked.json:
        asked.json.mkdir(parents=True, exist_ok=True)
    for name in BENCHMARKS:
        command = [sys.executable, str(HERE / f"{name}.py")]
        command += [f"--rows={asked.rows}"] if asked.rows else []
        command += [f"--json={asked.json / name}.json"] if asked.json else []
        print(f"\n{name}\n{'=' * len(name)}", flush=True)
        if status := subprocess.run(command, check=False).returncode:
            sys.exit(status)


if __name__ == "__main__":
    main()
