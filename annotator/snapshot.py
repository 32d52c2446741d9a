"""A project as it stands: sources as read, decisions, the people they come to, and the last round's proposals."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from annotator import rounds, sources
from annotator.derived import midpoints
from annotator.formats.dataset import Dataset
from annotator.images import Images
from annotator.people import ORIGIN, People
from annotator.proposals import KIND, Proposals
from annotator.reviewed import Reviewed, as_reviewed, reviewed
from annotator.skeletons import SKELETONS
from annotator.spread import spread, with_floor
from annotator.store.project import Project


@dataclass(frozen=True)
class Snapshot:
    """What a project holds now.

    Attributes:
        datasets: the sources, people as labelled over the source's own skeleton.
        images: of all sources.
        people: of all sources over the union skeleton, as reviewers left them, with those whom they found.
        labels: the same rows as labelled; without a point where a reviewer found the person.
        said: all that reviewers said.
        proposals: the last round's, nobody's where there is none. Labels that the round hid are labels here, points by
            rule follow from the people as they stand, and no radius is smaller than the reviewers' own spread.
        round: its number, 0 where there is none.
        proposals_file: where they lie.
    """

    datasets: tuple[Dataset, ...]
    images: Images
    people: People
    labels: People
    said: Reviewed
    proposals: Proposals
    round: int
    proposals_file: Path


def snapshot(project: Project) -> Snapshot:
    """Read a project's sources, decisions and last round.

    Raises:
        InputError: a source is not the file that entered the project.
        FormatError: a source or the round cannot be read.
    """
    skeleton = SKELETONS[project.settings.skeleton]
    datasets = sources.read_sources(project.settings.sources)
    said = reviewed(project)
    people, as_labelled = [], []
    for dataset, source in zip(datasets, project.settings.sources, strict=True):
        theirs = as_reviewed(dataset.people, source.name, dataset.images.image_id.tolist(), said).project(skeleton)
        found = theirs.take(slice(len(dataset.people), None)).hide([*skeleton.keypoints])
        people.append(theirs)
        as_labelled += [dataset.people.project(skeleton), found]
    now, labels = People.concat(people), People.concat(as_labelled)
    number = last_round(project.folder)
    file = project.round_folder(number) / "proposals.parquet"
    proposals = Proposals.read_rows(file, skeleton) if number else Proposals.none(skeleton)
    proposals = by_rule(unhidden(proposals, labels), now)
    return Snapshot(
        datasets=tuple(datasets),
        images=Images.concat([dataset.images for dataset in datasets]),
        people=now,
        labels=labels,
        said=said,
        proposals=with_floor(proposals, now, spread(now, said.decisions, rounds=0)),
        round=number,
        proposals_file=file,
    )


def last_round(folder: Path) -> int:
    """Number of the last round that has proposals, 0 where there is none."""
    found = [int(path.parent.name) for path in folder.glob("rounds/[0-9][0-9][0-9]*/proposals.parquet")]
    return max(found, default=0)


def unhidden(proposals: Proposals, labels: People) -> Proposals:
    """The same proposals with the kind that each keypoint has when no label is hidden.

    A round made with `--hide` measures; whoever goes on working with it has all labels. Nobody is proposed for who is
    not there any more, since reviewers took back that they had found somebody.
    """
    row_of = {name: row for row, name in enumerate(labels.person_id)}
    known = np.array([name in row_of for name in proposals.person_id], dtype=bool)
    proposals = proposals.take(known)
    of = labels.take(np.array([row_of[name] for name in proposals.person_id], dtype=np.int64))
    kind = np.where(of.labelled, KIND["labelled"], np.where(of.in_schema, KIND["unlabelled"], KIND["not_in_schema"]))
    return replace(proposals, kind=kind)


def by_rule(proposals: Proposals, people: People) -> Proposals:
    """The same proposals with points by rule where the people as they stand put them.

    Where a parent is no longer there, nor is the point.
    """
    proposals = rounds.with_rules(proposals, people)
    row_of = {name: row for row, name in enumerate(people.person_id)}
    rows = np.array([row_of[name] for name in proposals.person_id], dtype=np.int64)
    follows = np.isfinite(midpoints(people.xy[rows], people.skeleton)).all(axis=2)
    stale = (proposals.origin == ORIGIN["derived"]) & ~follows
    return replace(proposals, xy=np.where(stale[..., None], np.nan, proposals.xy))
