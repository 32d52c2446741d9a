"""The shards of a prediction on a Ray cluster, local or remote.

A task is the same function of the same arrays as on one machine, so its result does not depend on who computed it, and
Ray does a killed worker's task again. Pictures and weights are found by path: nodes share them (a network file system,
or one machine). The project's cache is used by workers on this machine only: hosts cannot share SQLite's journal.
"""

from __future__ import annotations

import socket
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from annotator.errors import MissingError, expected
from annotator.extras import need
from annotator.images import Images
from annotator.people import People
from annotator.proposals import Proposals
from annotator.skeletons import IntArray
from annotator.students.base import PoseModel
from annotator.students.cache import Cache

RETRIES = 5
# Tasks in flight beyond the workers: enough that nobody waits, few enough that memory does not grow with the dataset.
AHEAD = 4


def predict_shards(
    model: PoseModel, images: Images, people: People, shards: Sequence[IntArray], cache: Path | None, address: str
) -> Generator[tuple[Proposals, dict[str, str]], None, None]:
    """Each shard's proposals and unreadable pictures, in the order of the shards.

    Args:
        model: sent to the workers once; they open its networks by path.
        images, people: the tables; a task gets its own rows only.
        shards: rows of people.
        cache: the project's cache.
        address: `auto` for a cluster that is running, or one started on this machine; else a cluster's address.

    Raises:
        MissingError: Ray is not installed, or no cluster answers at the address.
    """
    ray = need("ray", "ray", "--ray needs Ray")
    _connect(ray, address)
    shared, here = ray.put(model), socket.gethostname()

    @ray.remote(max_retries=RETRIES, num_cpus=1)  # type: ignore[untyped-decorator]
    def work(model: PoseModel, images: Images, people: People) -> tuple[Proposals, dict[str, str]]:
        kept = Cache(cache if socket.gethostname() == here else None)
        try:
            return model.predict(images, people, kept)
        finally:
            kept.close()

    def send(rows: IntArray) -> Any:
        part = people.take(rows)
        return work.remote(shared, images.take(np.isin(images.image_id.astype(str), part.image_id.astype(str))), part)

    limit = int(ray.cluster_resources().get("CPU", 1)) + AHEAD
    waiting: list[Any] = []
    for rows in shards:
        waiting.append(send(rows))
        if len(waiting) >= limit:
            yield ray.get(waiting.pop(0))
    for task in waiting:
        yield ray.get(task)


def _connect(ray: Any, address: str) -> None:
    if ray.is_initialized():
        return
    try:
        if address == "auto":
            try:
                ray.init(address="auto", logging_level="ERROR", log_to_driver=False)
            except ConnectionError:
                ray.init(logging_level="ERROR", log_to_driver=False, include_dashboard=False)
        else:
            ray.init(address=address, logging_level="ERROR", log_to_driver=False)
    except (ConnectionError, ValueError, RuntimeError) as error:
        reason = str(error).split("\n")[0]
        raise MissingError(expected("a Ray cluster", reason, f"--ray {address}")) from error
