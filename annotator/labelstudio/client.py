"""The few calls to a Label Studio server, each retried where that is safe, each failure one line.

The token is held by the SDK alone: it is in no repr, message, traceback, file or argument list. What a server answers
is not shown whole either, since answers carry session cookies.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, TypeVar
from urllib.parse import urlsplit

from annotator.errors import AnnotatorError
from annotator.extras import need
from annotator.labelstudio.retrying import Pauses, classify

T = TypeVar("T")
Task = dict[str, Any]
PAGE = 100
PROJECTS = 500
# A submit may be committed after a later one that was already read: look back by more than a commit can take.
OVERLAP = timedelta(minutes=2)
GONE = 404
# What is read of an annotation, a draft or a prediction.
NESTED = {
    *("id", "result", "score", "model_version", "completed_by", "user", "was_cancelled", "ground_truth", "lead_time"),
    *("created_at", "updated_at", "unique_id", "parent_prediction"),
}
LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class LabelProject:
    """A project on the server.

    Attributes:
        id: Label Studio's number of it.
        title: its title.
        config: its labelling configuration (XML), as it stands there.
        made: it was not there before this call.
    """

    id: int
    title: str
    config: str
    made: bool = False


class Client:
    """A Label Studio server, as somebody with a token sees it; a context manager.

    Args:
        url: where the server answers, without `/api`.
        token: a legacy token or a personal access token.
        pauses: how often and how long to wait where the server is down, slow or busy.

    Raises:
        MissingError: the SDK is not installed, or the token has expired.
    """

    def __init__(self, url: str, token: str, pauses: Pauses | None = None) -> None:
        self.url = url.rstrip("/")
        self._pauses = pauses or Pauses()
        sdk = need("label_studio_sdk", "label", "Labelling needs Label Studio's SDK")
        httpx = need("httpx", "label", "Labelling needs httpx")
        self._http = httpx.Client(
            timeout=self._pauses.answer,
            follow_redirects=True,
            # A proxy from the environment has no business with a server on this machine, and would see the token.
            trust_env=urlsplit(self.url).hostname not in LOOPBACK,
            event_hooks={"response": [_check_exchange]},
        )
        # The SDK's own retries would send an import twice: ours know which calls may be repeated.
        arguments = {"base_url": self.url, "api_key": token, "httpx_client": self._http, "max_retries": 0}
        try:
            self._sdk = self._call("the token", lambda: sdk.LabelStudio(timeout=self._pauses.answer, **arguments))
        except BaseException:
            self.close()
            raise

    def __repr__(self) -> str:
        return f"Client({self.url!r})"

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def whoami(self) -> str:
        """Address of whom the token belongs to: the cheapest way to see that server and token work."""
        return str(self._call("who the token belongs to", lambda: self._sdk.users.whoami()).email)

    def users(self) -> dict[int, str]:
        """Address of each reviewer by the number that `completed_by` has."""
        return {int(user["id"]): str(user["email"]) for user in self.request("GET", "api/users/")}

    def projects(self) -> list[dict[str, Any]]:
        """All projects: `id`, `title`, `task_number` (tasks) and `num_tasks_with_annotations` (submitted ones)."""
        return self._listed(("id", "title", "task_number", "num_tasks_with_annotations"))

    def find_project(self, title: str) -> LabelProject | None:
        """The project of exactly this title that was made first, or None."""
        ids = [int(row["id"]) for row in self._listed(("id", "title"), title=title) if row["title"] == title]
        return LabelProject(ids[0], title, self.config_of(ids[0])) if ids else None

    def find_or_make_project(self, title: str, config: str, **settings: Any) -> LabelProject:
        """The project of this title; where there is none, a new one. One that is there is left as it is.

        Args:
            title: 3 to 50 characters.
            config: labelling configuration (XML) of a new project.
            settings: further fields of a new project, e.g. `maximum_annotations=2`, as in the SDK's `projects.create`.
        """

        def attempt() -> LabelProject:
            # Looked up at each attempt: one whose answer was lost may have made it.
            if found := self.find_project(title):
                return found
            made = self._sdk.projects.create(title=title, label_config=config, **settings)
            return LabelProject(int(made.id), title, str(made.label_config), made=True)

        return self._call(f"project {title!r}", attempt)

    def config_of(self, project: int) -> str:
        """Labelling configuration (XML) of a project, as it stands on the server."""
        return str(self._call(f"project {project}", lambda: self._sdk.projects.get(project)).label_config)

    def set_overlap(self, project: int, overlap: int) -> None:
        """How many annotations each task of a project is to have, those that are there included."""
        self._call(f"project {project}", lambda: self._sdk.projects.update(project, maximum_annotations=overlap))

    def import_tasks(self, project: int, tasks: Sequence[Task]) -> None:
        """Send a batch of tasks, whole or not at all.

        Each has `data` with a `key` that no other task of the project has. Where an answer is lost, the project's keys
        are read again before the batch is, so that no task is made twice.
        """
        keys = {str(task["data"]["key"]) for task in tasks}
        sent = False

        def attempt() -> None:
            nonlocal sent
            there = {key for key, _ in self.keys_of(project) if key in keys} if sent else set()
            new = [task for task in tasks if str(task["data"]["key"]) not in there]
            sent = True
            if new:
                options = {"timeout_in_seconds": self._pauses.batch}
                self._sdk.projects.import_tasks(project, request=new, request_options=options)

        self._call(f"project {project}: import of {len(tasks)} tasks", attempt)

    def tasks_of(self, project: int, fields: Iterable[str] = ("id", "data"), page: int = PAGE) -> Iterator[Task]:
        """The project's tasks by id, read in pages; `fields` may also name `predictions`, `annotations`, `drafts`."""
        return self._pages(project, fields, [], page)

    def keys_of(self, project: int) -> Iterator[tuple[str, int]]:
        """External key and id of each task that has a key, by id."""
        for task in self._pages(project, ("id", "data"), [], 10 * PAGE):
            if "key" in task["data"]:
                yield str(task["data"]["key"]), int(task["id"])

    def annotations_since(
        self, project: int, when: str | None = None, page: int = PAGE, *, skipped: bool = False
    ) -> Iterator[Task]:
        """Tasks with at least one submitted (or, if asked, skipped) annotation that changed at or after `when`, by id.

        Args:
            when: the latest `updated_at` seen so far (the server's clock), or None for all. A margin is taken off it,
                so tasks seen before come again.
            page: tasks in one request.
            skipped: those with a skipped annotation instead.

        Yields:
            Tasks with `id`, `data`, `updated_at` and `annotations` (see NESTED), skipped ones (`was_cancelled`)
            included, drafts and predictions never.
        """
        counted = "cancelled_annotations" if skipped else "total_annotations"
        conditions = [_condition(counted, "greater", "Number", 0)]
        if when is not None:
            since = datetime.fromisoformat(when).astimezone(UTC) - OVERLAP
            text = since.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
            conditions.append(_condition("updated_at", "greater_or_equal", "Datetime", text))
        return self._pages(project, ("id", "data", "updated_at", "annotations"), conditions, page)

    def delete_task(self, task: int) -> None:
        """Delete a task; one that is gone already stays gone."""

        def attempt() -> None:
            try:
                self._sdk.tasks.delete(id=str(task))
            except Exception as error:
                if (trouble := classify(error)) is None or trouble.status != GONE:
                    raise

        self._call(f"task {task}", attempt)

    def add_storage_local(self, project: int, path: str, title: str = "annotator") -> bool:
        """Let the server show files below `path` (its own name of that folder) in a project; False where it does."""

        def attempt() -> bool:
            there = self._sdk.import_storage.local.list(project=project)
            if any(str(storage.path).rstrip("/") == path.rstrip("/") for storage in there):
                return False
            self._sdk.import_storage.local.create(project=project, path=path, title=title, use_blob_urls=True)
            return True

        return self._call(f"project {project}: pictures in {path}", attempt)

    def request(self, method: str, path: str, body: Any = None, params: Mapping[str, Any] | None = None) -> Any:
        """Any other call: the JSON of the answer, None where it has none. GET alone is repeated after a lost answer."""

        def attempt() -> Any:
            options = {"method": method, "params": dict(params or {}), "json": body}
            answer = self._sdk._client_wrapper.httpx_client.request(path, **options)
            answer.raise_for_status()
            return answer.json() if answer.content else None

        return self._call(f"{method} {path}", attempt, repeat=method == "GET")

    def _listed(self, fields: Sequence[str], **search: str) -> list[dict[str, Any]]:
        """Projects by id. The SDK's own list asks for a page after the last, which the server logs as an error."""
        rows: list[dict[str, Any]] = []
        for page in count(1):
            asked = {"include": ",".join(fields), "page": page, "page_size": PROJECTS, **search}
            answer = self.request("GET", "api/projects/", params=asked)
            rows += [{field: row[field] for field in fields} for row in answer["results"]]
            if not answer["next"]:
                break
        return sorted(rows, key=lambda row: int(row["id"]))

    def _pages(self, project: int, fields: Iterable[str], conditions: list[Task], page: int) -> Iterator[Task]:
        """Tasks by id, a page at a time: each begins after the last one's last id, so none is missed or comes twice."""
        wanted = {"id", *fields}
        nested = wanted & {"annotations", "predictions", "drafts"}
        parameters = {
            "project": project,
            "page_size": page,
            # The server picks by these names within annotations and predictions, too.
            "include": ",".join(sorted(wanted | NESTED if nested else wanted)),
            "fields": "all" if nested else "task_only",
            "resolve_uri": False,
        }
        last = 0
        while True:
            items = [*conditions, _condition("id", "greater", "Number", last)]
            query = {"filters": {"conjunction": "and", "items": items}, "ordering": ["tasks:id"]}
            tasks = self.request("GET", "api/tasks/", params={**parameters, "query": json.dumps(query)})["tasks"]
            yield from tasks
            if len(tasks) < page:
                return
            last = tasks[-1]["id"]

    def _call(self, asked: str, attempt: Callable[[], T], repeat: bool = True) -> T:
        """Call, and call again where that may help.

        Args:
            asked: what is asked for, in the words of the error.
            attempt: makes the call; may be called several times.
            repeat: doing it twice does no harm. Otherwise it is repeated only where the server did not look at it.
        """
        pauses = self._pauses.seconds()
        number = 0
        while True:
            number += 1
            try:
                return attempt()
            except AnnotatorError:
                raise
            except Exception as error:
                trouble = classify(error)
                if trouble is None:
                    raise
            pause = next(pauses, None) if trouble.again and (repeat or not trouble.arrived) else None
            if pause is None:
                # Outside of `except`, so not chained: the SDK's errors show answers whole, the session's cookie, too.
                raise trouble.error(asked, self.url, number)
            self._pauses.sleep(pause if trouble.wait is None else min(trouble.wait, self._pauses.longest))


def _check_exchange(answer: Any) -> None:
    """Raise where a personal token could not be exchanged: the SDK would lose the status of an answer without JSON."""
    if answer.request.url.path.endswith("/api/token/refresh/") and answer.is_error:
        answer.read()
        answer.raise_for_status()


def _condition(column: str, operator: str, type_: str, value: object) -> Task:
    """A filter on tasks, in the Data Manager's language."""
    return {"filter": f"filter:tasks:{column}", "operator": operator, "type": type_, "value": value}
