"""`annotator label push`, `annotator label pull` and `annotator label backend`."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

Folder = Annotated[Path | None, typer.Argument(help="Project; else the current folder.")]
Url = Annotated[
    str | None,
    typer.Option("--url", envvar="ANNOTATOR_LABEL_URL", help="The team's server; its token in ANNOTATOR_LABEL_TOKEN."),
]
Home = Annotated[
    Path | None,
    typer.Option("--home", help="The local server's folder; else ANNOTATOR_LABEL_HOME or the user's."),
]
Json = Annotated[bool, typer.Option("--json", help="Print as JSON.")]


def push(
    project: Folder = None,
    budget: Annotated[float | None, typer.Option(min=0, help="Choose people first: how much may be spent.")] = None,
    unit: Annotated[str, typer.Option(help="With --budget: people, keypoints or minutes.")] = "people",
    strategy: Annotated[
        str, typer.Option(help="With --budget: random, stratified or least_certain.")
    ] = "least_certain",
    controls: Annotated[int, typer.Option(min=0, help="With --budget: people shown without proposals.")] = 0,
    traps: Annotated[int, typer.Option(min=0, help="With --budget: people with one proposal displaced.")] = 0,
    seed: Annotated[int, typer.Option(min=0, help="With --budget: seed of all chance.")] = 0,
    unlock: Annotated[bool, typer.Option("--unlock", help="Labels may be moved, too.")] = False,
    overlap: Annotated[
        int | None, typer.Option(min=1, help="Reviewers for each picture; as before unless given, at first 1.")
    ] = None,
    images_url: Annotated[
        list[str] | None, typer.Option(help="PREFIX or SOURCE=PREFIX of the pictures' addresses, for a team's server.")
    ] = None,
    url: Url = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Send the last round's people to Label Studio, one task a picture. Run again, it sends what is not there yet."""
    from annotator.cli._progress import bar
    from annotator.labelstudio import pushing, server
    from annotator.selection import Request

    request = None if budget is None else Request(budget, unit, strategy, controls, traps, seed)
    places = pushing.Places(None if url else server.home_folder(home), tuple(images_url or ()))
    with server.connect(url, home) as client, bar("sending", "tasks") as progress:
        made = pushing.push_round(
            project or Path(), client, places, request, unlock=unlock, overlap=overlap, progress=progress
        )
    _print(made.summary(), made.lines(), as_json)


def pull(
    project: Folder = None,
    watch: Annotated[bool, typer.Option("--watch", help="Go on until interrupted.")] = False,
    every: Annotated[float, typer.Option(min=1, help="With --watch: seconds between two looks.")] = 30,
    url: Url = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Read what reviewers submitted since the last time; drafts and skipped tasks are left alone."""
    from annotator.cli._progress import bar
    from annotator.labelstudio import reviewers, server, sync
    from annotator.labelstudio.outcome import Pulled
    from annotator.store.project import Project

    def tell(pulled: Pulled, open_: list[str]) -> None:
        _print({**pulled.summary(), "disagreements": open_}, [*pulled.lines(), *open_], as_json)

    with Project.open(project or Path()) as opened, server.connect(url, home) as client:
        if watch:
            _heed_interrupts()
            sync.watch(opened, client, every, lambda pulled: tell(pulled, reviewers.disagreements(opened, client)))
        with bar("reading", "tasks") as progress:
            pulled = sync.pull(opened, client, progress)
        tell(pulled, reviewers.disagreements(opened, client))
        pulled.check()


def backend(
    project: Folder = None,
    student: Annotated[str, typer.Option("--student", help="A student's name, or a card's path.")] = "default",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="On loopback; 0: any that is free.")] = 9090,
    url: Url = None,
    home: Home = None,
) -> None:
    """Help while labelling, until interrupted: a click with the smart keypoint tool moves the rest of the person."""
    from annotator.labelstudio import backend, server
    from annotator.labelstudio.live import Live
    from annotator.store.project import Project

    _heed_interrupts()
    live = Live.open(project or Path(), student)
    with backend.serving(live, port) as address:
        with Project.open(live.folder) as opened, server.connect(url, home) as client:
            titles = backend.connect(opened, client, address)
        print(f"{live.model.name} answers at {address}, asked by: {', '.join(titles)}", flush=True)
        backend.wait()


def _heed_interrupts() -> None:
    """Have SIGINT end what goes on until then, though a shell starts background jobs with it ignored."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _print(summary: dict[str, object], lines: list[str], as_json: bool) -> None:
    if as_json:
        print(json.dumps(summary, indent=2), flush=True)
        return
    console = Console(markup=False, highlight=False, soft_wrap=True)
    for line in lines:
        console.print(line)
