"""`annotator label`: review in Label Studio, on a server of one's own or the team's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from annotator.cli._label_rounds import Home, Json, Url, backend, pull, push

app = typer.Typer(help="Review in Label Studio.", no_args_is_help=True, add_completion=False)


@app.command("up")
def up(
    url: Url = None,
    home: Home = None,
    port: Annotated[int | None, typer.Option("--port", help="On loopback; else 8080, or any free one.")] = None,
    new_password: Annotated[
        bool, typer.Option("--new-password", help="Give the local reviewer another password, and show it once.")
    ] = False,
) -> None:
    """Start a local server, or find it, and say where it is; with --url, see whether that one lets us in.

    The first start installs Label Studio (900 MB) beside its data, and shows the reviewer's password, once;
    ANNOTATOR_LABEL_PASSWORD chooses it.
    """
    from annotator.cli._progress import bar
    from annotator.labelstudio import environment, server

    if url:
        with server.connect(url) as client:
            print(f"{client.url} lets {client.whoami()} in")
        return
    folder = server.home_folder(home)
    with bar("installing Label Studio", "packages") as progress:
        environment.install(progress)
    with bar("starting Label Studio", "seconds") as progress:
        found, password = server.up(folder, port, progress)
    password = server.new_password(folder) if new_password and not password else password
    print(f"Label Studio {found.version} answers at {found.url}")
    if password:
        print(f"log in as {server.EMAIL}, password {password} (shown only now; --new-password makes another)")


@app.command("down")
def down(home: Home = None) -> None:
    """Stop the local server, if `label up` started it. Its data stay."""
    from annotator.labelstudio import server

    stopped = server.down(server.home_folder(home))
    print(f"stopped {stopped.url}" if stopped else "nothing to stop: label up started no server that still runs here")


app.command("push")(push)
app.command("pull")(pull)
app.command("backend")(backend)


@app.command("status")
def status(
    project: Annotated[Path | None, typer.Argument(help="Project; else the current folder, if it is one.")] = None,
    url: Url = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Say who reviewed what and where reviewers disagree, which server there is and what is labelled on it."""
    from annotator.labelstudio import reviewers, server

    report = reviewers.report_of(project or Path(), needed=project is not None)
    console = Console(markup=False, highlight=False)
    console.width = max(console.width, 120)  # a pipe has no width of its own; the widest table needs this much
    for part in report.tables() if report and not as_json else ():
        console.print(part, soft_wrap=isinstance(part, str))
    with server.connect(url, home) as client:
        where, who, projects = client.url, client.whoami(), client.projects()
    if as_json:
        said = report.summary() if report else {}
        print(json.dumps({"url": where, "user": who, "projects": projects, **said}, indent=2))
        return
    print(f"{where}, as {who}")
    table = Table(box=None, pad_edge=False)
    for title in ("project", "title", "tasks", "submitted"):
        table.add_column(title)
    for row in projects:
        table.add_row(*(str(value) for value in row.values()))
    console.print(table)
