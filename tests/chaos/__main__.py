"""`make chaos`: many rounds, and what was killed; 1 when anything was lost, kept or untold."""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
from pathlib import Path

from chaos.rounds import play


def main() -> int:
    """Play, print the report, say by the exit code whether all is well."""
    parser = argparse.ArgumentParser(prog="chaos", description=__doc__)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=12.0, help="of mishaps in a round")
    parser.add_argument("--minutes", type=float, default=math.inf, help="then no further round")
    parser.add_argument("--people", type=int, default=2400)
    parser.add_argument("--keep", action="store_true", help="the folder with all logs")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="audience-sync-chaos-") as folder:
        report = play(
            Path(folder),
            asked.rounds,
            asked.seed,
            people=asked.people,
            seconds=asked.seconds,
            minutes=asked.minutes,
            tell=True,
        )
        sys.stdout.write(f"\n{report}\n")
        if asked.keep:
            kept = Path(folder).rename(f"{folder}-kept")
            Path(folder).mkdir()
            sys.stdout.write(f"{kept}\n")
    return 0 if report.findings.sound else 1


if __name__ == "__main__":
    sys.exit(main())
