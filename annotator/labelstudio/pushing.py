"""From a project's folder to what `sync.push` needs: last round, selection, and where a server finds the pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from annotator import queue
from annotator.errors import InputError, UsageError, expected
from annotator.files import file_sha256
from annotator.labelstudio import server, sync
from annotator.labelstudio.client import Client
from annotator.labelstudio.outcome import Pushed
from annotator.selection import Request, Selection
from annotator.snapshot import Snapshot, snapshot
from annotator.store.project import Project
from annotator.store.settings import SourceSettings


@dataclass(frozen=True)
class Places:
    """Where a server finds pictures.

    Attributes:
        home: of the local server, which is shown the sources' own folders; None for a team's.
        urls: for a team's server, what comes before a picture's file name: PREFIX for every source, or NAME=PREFIX.
    """

    home: Path | None = None
    urls: tuple[str, ...] = ()

    def of(self, sources: Sequence[SourceSettings]) -> dict[str, server.Pictures]:
        """By source's name.

        Raises:
            UsageError: a source has no prefix, or a prefix is for a source that there is not.
        """
        if self.home and not self.urls:
            return {source.name: server.pictures(self.home, Path(source.images)) for source in sources}
        prefixes: dict[str, str] = {}
        for text in self.urls:
            name, named, prefix = text.partition("=")
            if named and "/" not in name and name not in {source.name for source in sources}:
                raise UsageError(expected(f"one of {', '.join(s.name for s in sources)}", name, "--images-url"))
            prefixes |= {name: prefix} if named and "/" not in name else dict.fromkeys((s.name for s in sources), text)
        for source in sources:
            if source.name not in prefixes:
                what = f"where that server finds the pictures of {source.name} (--images-url)"
                raise UsageError(expected(what, "nothing", "label push"))
        return {name: server.Pictures("", prefix) for name, prefix in prefixes.items()}


def push_round(
    folder: Path,
    client: Client,
    places: Places,
    request: Request | None = None,
    *,
    unlock: bool = False,
    overlap: int | None = None,
    batch: int = sync.BATCH,
    progress: sync.Progress = sync.nobody,
) -> Pushed:
    """Push a project's last round (see `sync.push`); with a request, choose the people first (see `queue.select`).

    Raises:
        InputError: there is no round, or no selection of its proposals.
        UsageError: nobody says where the server finds the pictures.
    """
    if request:
        queue.select(folder, request)
    with Project.open(folder) as project:
        now = snapshot(project)
        if not now.round:
            raise InputError(expected("a round with proposals (annotator propose PROJECT)", "none", str(folder)))
        chosen = _chosen(project, now)
        how = sync.How(places.of(project.settings.sources), unlock, overlap, batch)
        return sync.push(project, client, now, chosen, how, progress)


def _chosen(project: Project, now: Snapshot) -> Selection:
    path = project.round_folder(now.round) / queue.NAME
    wanted = "a selection of the round's proposals (annotator select, or --budget)"
    if not path.exists():
        raise InputError(expected(wanted, "none", str(path)))
    chosen = queue.load(path)
    if chosen.proposals_sha256 != file_sha256(now.proposals_file):
        raise InputError(expected(wanted, "one of other proposals", str(path)))
    return chosen
