"""Write the outcomes of the fault tests as the table in ``docs/reliability.md``.

    python -m tests.faults.table OUTCOMES [PAGE]

OUTCOMES has one JSON object a line. Without PAGE the table is printed.
"""

import json
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

_START = "<!-- made by `make faults`: begin -->"
_END = "<!-- made by `make faults`: end -->"


def make_table(outcomes: list[dict[str, Any]]) -> str:
    """Return a Markdown table: one row a fault and moment, sorted, and a row of totals."""
    rows: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for outcome in outcomes:
        rows[outcome["fault"]].append(outcome)
    lines = ["| fault | moment | runs | lost | duplicated |", "|---|---|---|---|---|"]
    for fault in sorted(rows):
        for row in sorted(rows[fault], key=lambda row: str(row["moment"])):
            moment = f"{row['moment']} | {row['runs']} | {row['lost']} | {row['duplicated']}"
            lines.append(f"| {fault} | {moment} |")
    lost, duplicated = (sum(row[name] for row in outcomes) for name in ("lost", "duplicated"))
    lines.append(f"| **{len(rows)} faults** | {len(outcomes)} moments | | {lost} | {duplicated} |")
    seeds = ", ".join(sorted({str(row["seed"]) for row in outcomes}))
    failed = sum(row["moment"] == "failed" for row in outcomes)
    lines += [
        "",
        f"Seed {seeds}, commit {describe_commit()}; {failed} tests failed before they added a row.",
    ]
    return "\n".join(lines)


def describe_commit() -> str:
    """Return the current commit, with ``+`` if files differ from it."""
    command = ("git", "describe", "--always", "--exclude=*", "--dirty=+")
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def main() -> None:
    outcomes_file, *targets = map(Path, sys.argv[1:])
    table = make_table([json.loads(line) for line in outcomes_file.read_text().splitlines()])
    if not targets:
        print(table)
        return
    (page,) = targets
    text = page.read_text()
    before, start, rest = text.partition(_START)
    _, end, after = rest.partition(_END)
    if not start or not end:
        sys.exit(f"{page} has no place for the table. Add the lines {_START} and {_END}.")
    page.write_text(f"{before}{_START}\n\n{table}\n\n{_END}{after}")


if __name__ == "__main__":
    main()
