"""Push a round's selection to a Label Studio server, pull what reviewers submitted; either may be killed at any point.

Pushing: what will be shown is written to the store first, then the project is made and the tasks whose external keys it
lacks are imported in ranked order, then the keys are read back. Pulling: each version of an annotation enters the store
in one transaction with its decisions, under Label Studio's own number and time of it, so that it cannot enter twice.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import chain, islice
from typing import TypeVar

from annotator.errors import InputError, MissingError, StorageError, expected
from annotator.labelstudio import config
from annotator.labelstudio.client import Client, LabelProject
from annotator.labelstudio.environment import locked
from annotator.labelstudio.frame import frame_of
from annotator.labelstudio.outcome import Pulled, Pushed
from annotator.labelstudio.server import Pictures
from annotator.labelstudio.tasks import Shown, shown, task
from annotator.labelstudio.versions import enter, utc
from annotator.selection import Selection
from annotator.skeletons import SKELETONS
from annotator.snapshot import Snapshot
from annotator.store import tasks
from annotator.store.project import Project

T = TypeVar("T")
Progress = Callable[[int, int], None]
BATCH = 50  # tasks in one request: some seconds of the server's time, a few MB
FRESH = timedelta(minutes=10)  # a task as young as this nobody has found yet
PATIENCE = 10  # failures in a row after which watching ends


def nobody(done: int, total: int) -> None:
    """Progress that is told to nobody."""


@dataclass(frozen=True)
class How:
    """How a round is pushed.

    Attributes:
        pictures: how the server finds each source's pictures, by the source's name.
        unlock: labels may be moved.
        overlap: reviewers for each task; None leaves them as the project has them, one in a new project.
        batch: tasks in one request.
    """

    pictures: Mapping[str, Pictures]
    unlock: bool = False
    overlap: int | None = None
    batch: int = BATCH


def push(
    project: Project, client: Client, now: Snapshot, selection: Selection, how: How, progress: Progress = nobody
) -> Pushed:
    """Send the last round's selection; what is there already is left as it is.

    Args:
        project: whose round it is.
        client: the server.
        now: the project as it stands.
        selection: whom to ask about.
        how: the rest.
        progress: told how many tasks are there, and how many there will be.

    Raises:
        InputError: the round went out with other settings, or its configuration was changed on the server.
        ImageError: a picture cannot be read.
        MissingError: no server answers, or it refuses the token.
        StorageError: it went on failing; running this again goes on from here.
    """
    with locked(project.round_folder(now.round) / ".push"):  # two at once would both find a key missing
        title = tasks.open_round(project, now.round, unlock=how.unlock)
        asked = _asked(project, now.round)
        drawn = shown(now.people, now.proposals, selection, now.images, frame_of, round=now.round, unlock=how.unlock)
        # Somebody of a picture that has its task may be gone by now: without them it would get another key.
        fresh = (picture for picture in drawn if not asked.issuperset(p.person_id for p in picture.people))
        for some in _batches(fresh, how.batch):
            tasks.put_tasks(project, now.round, [(p.key, p.image_id, p.rank, p.to_json()) for p in some])
        there = find(project, client, now.round, title)
        if there is None:
            there = client.find_or_make_project(title, _config(project), maximum_annotations=how.overlap or 1)
        if edited := difference(project, client, there):
            raise InputError(edited)
        if how.overlap and not there.made:
            client.set_overlap(there.id, how.overlap)
        row = tasks.put_project(project, now.round, _identity(client, there.id))
        for storage in sorted({pictures.storage for pictures in how.pictures.values()} - {""}):
            client.add_storage_local(there.id, storage)
        new = _import(project, client, there.id, now, how, progress)
        tasks.put_sent(project, row, _without_copies(client, there.id))
    asked = _asked(project, now.round)
    gone = len(set(selection.person_id) - asked)
    total = len(tasks.keys_of(project, now.round))
    url = f"{client.url}/projects/{there.id}/data"
    return Pushed(now.round, total, new, len(asked), gone, there.id, there.title, url)


def _asked(project: Project, number: int) -> set[str]:
    """Whom the tasks of a round ask about."""
    return {person.person_id for key in tasks.keys_of(project, number) for person in _shown(project, key).people}


def _import(project: Project, client: Client, number: int, now: Snapshot, how: How, progress: Progress) -> int:
    """Import the tasks that a project on the server lacks, in ranked order, and return how many that were."""
    keys = tasks.keys_of(project, now.round)
    found = {key for key, _ in client.keys_of(number)}
    missing = [key for key in keys if key not in found]
    file_name_of = dict(zip(now.images.image_id, now.images.file_name, strict=True))
    done = len(keys) - len(missing)
    progress(done, len(keys))
    for some in _batches(missing, how.batch):
        ready = []
        for picture in (_shown(project, key) for key in some):
            place = how.pictures[picture.image_id.partition(":")[0]]
            ready.append(task(picture, place.address(file_name_of[picture.image_id]), now.proposals.student))
        client.import_tasks(number, ready)
        done += len(some)
        progress(done, len(keys))
    return len(missing)


def _without_copies(client: Client, number: int) -> Iterator[tuple[str, int]]:
    """Key and number of each task; a fresh copy nobody worked on is deleted.

    A server may finish an import long after it failed to answer, when the batch has been sent again. Others' drafts are
    not told, so a copy that has been there for a while stays: answers to either are read.
    """
    first: dict[str, int] = {}
    for key, name in client.keys_of(number):
        kept = first.setdefault(key, name)
        if kept == name:
            continue
        if not _worked_on(client, name):
            client.delete_task(name)
        elif not _worked_on(client, kept):
            client.delete_task(kept)
            first[key] = name
    yield from first.items()


def _worked_on(client: Client, number: int) -> bool:
    """Whether somebody has worked on a task, or may have."""
    found = client.request("GET", f"api/tasks/{number}/")
    age = datetime.now(UTC) - datetime.fromisoformat(utc(found["created_at"]))
    return bool(found.get("annotations") or found.get("drafts") or age > FRESH)


def pull(project: Project, client: Client, progress: Progress = nobody) -> Pulled:
    """Read what reviewers submitted since the last pull, in all rounds that were pushed to this server.

    A project whose configuration was changed there is passed over (see `Pulled.check`); the others are read.

    Args:
        project: whose rounds they are.
        client: the server.
        progress: told how many changed tasks were read; how many there are is not known before.

    Raises:
        InputError: nothing was pushed to this server.
        MissingError: no server answers, or it refuses the token.
        StorageError: it went on failing, or the store cannot be written; running this again goes on from here.
    """
    if not (out := tasks.rounds_out(project)):
        wanted = "a round that was pushed (annotator label push)"
        raise InputError(expected(wanted, "none", str(project.folder)))
    pulled = Pulled()
    for number, title in reversed(out):  # the newest first: what fails in an older one does not hold it up
        there = find(project, client, number, title)
        if there is None:
            pulled.elsewhere.append(number)
            continue
        if edited := difference(project, client, there):
            pulled.edited.append(edited)
            continue
        row = tasks.put_project(project, number, _identity(client, there.id))
        _pull(project, client, there.id, row, pulled, progress)
    if len(pulled.elsewhere) == len(out):
        titles = " or ".join(repr(title) for _, title in out)
        raise InputError(expected(f"project {titles}, which was pushed", "none such", client.url))
    return pulled


def _pull(project: Project, client: Client, number: int, row: int, pulled: Pulled, progress: Progress) -> None:
    """Read one project's annotations into the store, and add to `pulled`.

    Tasks come by number, not by time. So only a whole pass moves the mark from which the next one reads, and to its own
    length before the latest time it saw: what was submitted meanwhile in a task that had been read comes next time.
    """
    began, asleep, latest, users = time.monotonic(), time.time(), "", client.users()
    keypoints = SKELETONS[project.settings.skeleton].keypoints
    seen = tasks.seen(project, row)
    submitted = client.annotations_since(number, seen)
    skipped = client.annotations_since(number, seen, skipped=True)  # one that was submitted once may be
    for done, entry in enumerate(chain(submitted, skipped), 1):
        for annotation in sorted(entry["annotations"], key=lambda one: utc(one["updated_at"])):
            latest = max(latest, utc(annotation["updated_at"]))
            pulled.add(enter(project, row, entry, annotation, keypoints, users))
        progress(done, done)
    if latest:
        # The monotonic clock stands still while a machine sleeps, the other may be set back.
        length = max(time.monotonic() - began, time.time() - asleep)
        mark = datetime.fromisoformat(latest) - timedelta(seconds=length)
        tasks.put_seen(project, row, utc(mark.isoformat()))


def watch(
    project: Project, client: Client, every: float, tell: Callable[[Pulled], None],
    sleep: Callable[[float], None] = time.sleep,
) -> None:  # fmt: skip
    """Pull again and again, `every` so many seconds, until interrupted; tell what came where something did.

    A server that is down for a while does not end it: only PATIENCE failures in a row do.
    """
    failures = 0
    while True:
        try:
            if pulled := pull(project, client):
                tell(pulled)
            pulled.check()
            failures = 0
        except (MissingError, StorageError):
            failures += 1
            if failures >= PATIENCE:
                raise
        sleep(every)


def find(project: Project, client: Client, number: int, title: str) -> LabelProject | None:
    """A round's project on the server, by its title, or by its number and birth where somebody gave it another."""
    if there := client.find_project(title):
        return there
    for known in tasks.projects_of(project, number):
        try:
            if _identity(client, int(known.split()[0])) == known:
                return LabelProject(int(known.split()[0]), title, client.config_of(int(known.split()[0])))
        except InputError:  # no project of that number on this server
            continue
    return None


def _identity(client: Client, number: int) -> str:
    """What tells a project from all others, though its server may answer at another address tomorrow."""
    return f"{number} {client.request('GET', f'api/projects/{number}/')['created_at']}"


def _config(project: Project) -> str:
    return config.make(SKELETONS[project.settings.skeleton])


def difference(project: Project, client: Client, there: LabelProject) -> str:
    """How a project's configuration is no longer what its tasks were made for, in the words of an error; else empty."""
    if not (found := config.differences(_config(project), there.config)):
        return ""
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    where = f"{client.url}: labelling configuration of project {there.id} ({there.title})"
    return expected("it as it was made", f"another: {found[0]}{more}; nothing was changed", where)


def _shown(project: Project, key: str) -> Shown:
    text = tasks.shown_of(project, key)
    assert text is not None  # keys come from the same table
    return Shown.from_json(text)


def _batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    rest = iter(items)
    while some := list(islice(rest, size)):
        yield some
