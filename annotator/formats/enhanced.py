"""`annotations.json`: source records with all their own fields, over the union's 21 keypoints, labels and proposals.

Valid COCO keypoints: one category with keypoints; labelled numbers are the source's to the last bit; what a model
placed has v = 2 (whether it is hidden is not estimated yet) and is told from a label by `annotator.origin` alone.
Proposed coordinates are rounded to 1e-4 pixels; `proposals.parquet` has them in full. Crowd regions and annotations of
other categories stay at their place; a crowd's keypoints become 63 zeros. A block also holds `bbox_given` (false for a
box made by a rule) and `previous`, the labels that a reviewer corrected.
"""

import json
from pathlib import Path

from annotator.errors import TableError, UsageError, expected
from annotator.files import atomic_path
from annotator.formats.cocowrite import category
from annotator.formats.dataset import Dataset
from annotator.formats.enhanced_source import Numbers, Source
from annotator.formats.records import Record
from annotator.people import ORIGIN
from annotator.proposals import Proposals
from annotator.skeletons import UNION_21

# What each level of --points adds to the one before it. Points by rule come with those a model is answerable for.
LEVELS = {
    "labelled": ("labelled",),
    "human": ("accepted", "corrected", "control", "rejected", "absent"),
    "released": ("released", "derived"),
    "proposed": ("proposed",),
}


def annotations(datasets: list[Dataset], proposals: Proposals, points: str = "proposed") -> Record:
    """The document as one value.

    One source keeps its own pixel convention. Several are brought to COCO's, where pixels count from 0 (fields of a
    record other than keypoints, bbox and `annotator` stay as they are); `info.annotator` says so. An id that is taken
    already is replaced, the old one kept as `source_id`. MPII and LSP records have no ids: a person's is its index + 1
    (pycocotools takes id 0 for "unmatched"), an image's its place in the order of first appearance.

    Args:
        datasets: sources; their people may be over any skeleton, points outside the union go to `source_keypoints`.
        proposals: rows are joined by person_id; people without a row are written with their labels alone.
        points: the last of LEVELS to be written; what is left out is (0, 0, 0) with origin `none`.

    Raises:
        UsageError: an unknown level.
        TableError: proposals for people of none of the datasets, or two datasets with the same people.
    """
    sources = _sources(datasets, proposals, points)
    document = _frame(sources, points, proposals.student)
    document["images"] = [record for source in sources for record in source.images()]
    document["annotations"] = [record for source in sources for record in source.annotations()]
    return document


def write(path: Path, datasets: list[Dataset], proposals: Proposals, points: str = "proposed") -> None:
    """Write `annotations(...)` whole or not at all, one record a line, never holding all of it in memory."""
    sources = _sources(datasets, proposals, points)
    frame = _frame(sources, points, proposals.student)
    lists = {"images": (s.images() for s in sources), "annotations": (s.annotations() for s in sources)}
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        for i, (key, value) in enumerate(frame.items()):
            file.write(f"{',' if i else '{'}\n{json.dumps(key)}: ")
            if key not in lists:
                file.write(json.dumps(value, ensure_ascii=False, allow_nan=False))
                continue
            start = "["
            for record in (record for records in lists[key] for record in records):
                file.write(f"{start}\n{json.dumps(record, ensure_ascii=False, allow_nan=False)}")
                start = ","
            file.write("[]" if start == "[" else "\n]")
        file.write("\n}\n")


def _sources(datasets: list[Dataset], proposals: Proposals, points: str) -> list[Source]:
    if points not in LEVELS:
        raise UsageError(expected(f"one of {', '.join(LEVELS)}", repr(points), "--points"))
    row_of = {name: row for row, name in enumerate(proposals.person_id)}
    names = [name for dataset in datasets for name in dataset.people.person_id]
    if len(set(names)) != len(names):
        raise TableError(expected("datasets with different people", "the same person twice", "annotations"))
    if strangers := set(row_of) - set(names):
        raise TableError(expected("proposals for people of the datasets", min(strangers), "Proposals.person_id"))
    several, numbers = len(datasets) > 1, Numbers()
    words = frozenset(ORIGIN[word] for word in words_of(points))
    return [Source(dataset, proposals, row_of, words, numbers, several=several) for dataset in datasets]


def words_of(points: str) -> list[str]:
    """Origins that are written down to a level."""
    return [word for name in list(LEVELS)[: list(LEVELS).index(points) + 1] for word in LEVELS[name]]


def _frame(sources: list[Source], points: str, student: str) -> Record:
    """Everything but the records, with the keys of a single COCO source in their order."""
    documents = [source.dataset.rest.get("document", {}) for source in sources]
    frame: Record = {"info": {}, "images": None, "annotations": None, "categories": None}
    if len(sources) == 1 and documents[0]:
        frame = {**({} if "info" in documents[0] else {"info": {}}), **documents[0]}
    elif licenses := [entry for document in documents for entry in document.get("licenses") or []]:
        frame["licenses"] = licenses
    others = [entry for source in sources for entry in source.other_categories]
    frame["categories"] = [category(UNION_21, sources[0].category if sources else 1), *others]
    info = frame["info"] if isinstance(frame["info"], dict) else {"source_info": frame["info"]}
    several = len(sources) > 1
    said = "x and y of keypoints and bbox count pixels from 0, whatever the source does" if several else "as the source"
    frame["info"] = {
        **info,
        "annotator": {
            "points": points,
            "origins": words_of(points),
            "student": student,
            "pixels": said,
            "sources": [source.said() for source in sources],
        },
    }
    return frame
