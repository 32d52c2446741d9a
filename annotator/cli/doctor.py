"""`annotator doctor`: what this machine has, what it lacks, and how to mend it."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from annotator.doctor import BROKEN, MISSING, OK, examine, unusable
from annotator.errors import MissingError

COLOURS = {OK: "green", MISSING: "yellow", BROKEN: "bold red"}


def doctor(as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False) -> None:
    """Say what this machine has, what it lacks, and how to mend it.

    What is missing only closes the commands that need it; what is broken at the core gives exit code 3.
    """
    findings = examine()
    if as_json:
        print(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        table = Table(box=None, pad_edge=False)
        for column in ("", "state", "found", "mend"):
            table.add_column(column, overflow="fold")
        for finding in findings:
            state = Text(finding.state, style=COLOURS[finding.state])
            table.add_row(finding.name, state, Text(finding.found), Text(finding.mend))
        console = Console()
        console.print(table)
        counts = {state: sum(finding.state == state for finding in findings) for state in COLOURS}
        console.print(", ".join(f"{count} {state}" for state, count in counts.items()))
    broken = unusable(findings)
    if broken:
        raise MissingError("; ".join(f"{finding.name}: {finding.found}: {finding.mend}" for finding in broken))
