"""The keypoints that a dataset never labels, on its own people: do they lie where labels say they must?

    python -m workflows.unlabelled --data DATA --out OUT [--student default] [--split test]
    python -m workflows.unlabelled --counted workflows/eye_count.csv

COCO has no neck and head top, MPII no face. `annotator propose` adds them as it does for a user, with all labels given.
Printed is how often the added points keep the checks of `workflows.consistency`, beside the rate of the fused teachers'
points, and of those moved by half a head in a random direction: what a wrong answer gets. What a right answer gets is
to be seen where the other dataset labels the points in question. Then 50 people of each, seeded, are drawn on contact
sheets, with count.csv beside them to fill in, which `--counted` counts. eye_count.csv is the list that was filled for
docs/results.md.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from annotator import formats
from annotator.derived import head_size
from annotator.images import Images, read_pixels
from annotator.metrics.bootstrap import bootstrap_ratios, interval
from annotator.people import BoolArray, People
from annotator.proposals import KIND, Proposals, to_write
from annotator.skeletons import UNION_21, FloatArray, IntArray
from workflows import contact_sheet
from workflows.consistency import CHECKS, Heads, counts
from workflows.measuring import image_of
from workflows.results import SETS, annotator

TEACHERS = "teachers"
ROUNDS, SEED = 2000, 0
OFF = 0.5  # head sizes
PEOPLE = 50
# Of each dataset: what is added on its people, and whose labels show what a right answer gets.
ADDED = {"coco": ("neck, head top", "MPII"), "mpii": ("face", "COCO")}


@dataclass(frozen=True)
class Completed:
    """People of one dataset with what was added to them.

    Attributes:
        images, people: over the union skeleton, as labelled.
        proposals: student -> its word on them, row by row.
        head_px: (N,) head size in pixels: of the labels, or of the teachers' points where there are none.
    """

    images: Images
    people: People
    proposals: dict[str, Proposals]
    head_px: FloatArray

    def heads(self, student: str) -> Heads:
        """Labels, and the student's points for what the dataset never labels."""
        added = to_write(self.proposals[student]).xy
        return Heads(np.where(self.people.labelled[..., None], self.people.xy, added), self.head_px)


def complete(name: str, split: str, students: list[str], data: Path, out: Path) -> Completed:
    """Propose with all labels given, as a user would, and read it back beside the labels."""
    one = SETS[name]
    labels, images = data / str(one["annotations"]).replace("test", split), data / one["images"]
    proposals = {}
    for student in students:
        folder = out / f"{name}-{split}-{Path(student).stem}"
        annotator("propose", "--annotations", str(labels), "--images", str(images), "--format", one["format"],
                  "--out", str(folder), "--student", student)  # fmt: skip
        proposals[student] = Proposals.read_rows(folder / "rounds" / "001" / "proposals.parquet", UNION_21)
    read = formats.read(labels, images, one["format"])
    people = read.people.project(UNION_21)
    row_of = {person_id: row for row, person_id in enumerate(people.person_id)}
    people = people.take(np.array([row_of[person_id] for person_id in proposals[TEACHERS].person_id]))
    reference = np.where(people.labelled[..., None], people.xy, proposals[TEACHERS].xy)
    return Completed(read.images, people, proposals, head_size(reference, UNION_21))


def moved(heads: Heads, which: BoolArray, rng: np.random.Generator) -> Heads:
    """Points `which` (N, 21) moved by OFF head sizes, each in a direction of its own."""
    angle = rng.uniform(0, 2 * np.pi, which.shape)
    step = OFF * heads.size[:, None, None] * np.stack([np.cos(angle), np.sin(angle)], axis=2)
    return Heads(heads.xy + np.where(which[..., None], step, 0), heads.size)


def table(name: str, one: Completed) -> str:
    """Markdown: a row a check; a column the student's points, the teachers', and those half a head off."""
    what, other = ADDED[name]
    added = one.proposals[TEACHERS].kind == KIND["not_in_schema"]
    columns = {made.student: one.heads(student) for student, made in one.proposals.items()}
    columns |= {"half a head off": moved(one.heads(TEACHERS), added, np.random.default_rng(SEED))}
    image = image_of(one.people)
    counted = {title: counts(heads) for title, heads in columns.items()}
    cells = {title: list(rates(kept, asked, image)) for title, (kept, asked) in counted.items()}
    asked = counted[TEACHERS][1].sum(axis=0)
    lines = [f"### {name.upper()} people, {what} added (right answers: {other}'s table, teachers)", ""]
    lines += [f"| check, % | within | n | {' | '.join(cells)} |", f"|---|---|---|{'---|' * len(cells)}"]
    for row, check in enumerate(CHECKS):
        shown = " | ".join(column[row] for column in cells.values())
        lines.append(f"| {check.title} | {check.low:g} to {round(check.high, 2):g} | {asked[row]:,.0f} | {shown} |")
    shown = " | ".join(column[-1] for column in cells.values())
    lines += [f"| all of a person's checks | | {asked[-1]:,.0f} | {shown} |", ""]
    first = next(iter(counted))
    *_, apart = rates(counted[first][0] - counted[TEACHERS][0], counted[TEACHERS][1], image)
    return "\n".join([*lines, f"All of a person's checks, {first} minus teachers: {apart} points.", ""])


def rates(kept: FloatArray, asked: FloatArray, image: IntArray) -> Iterator[str]:
    """Each column's share in percent with its interval."""
    low, high = interval(bootstrap_ratios(kept, asked, image, int(image.max()) + 1, ROUNDS, SEED))
    for column, n in enumerate(asked.sum(axis=0)):
        share = kept[:, column].sum() / n if n else np.nan
        yield f"{100 * share:.1f} ({100 * low[column]:.1f} to {100 * high[column]:.1f})" if n else "-"


def right_answers(all_of_them: list[Completed]) -> str:
    """Markdown: where 95 % of the values lie when one dataset's labels meet the teachers' points for the other's."""
    lines = ["### Right answers, in head sizes", "", "| check | n | 2.5 % | median | 97.5 % |", "|---|---|---|---|---|"]
    for check in CHECKS:
        values = np.concatenate([check.value(one.heads(TEACHERS)).ravel() for one in all_of_them])
        values = values[np.isfinite(values)]
        quantiles = " | ".join(f"{value:.2f}" for value in np.percentile(values, [2.5, 50, 97.5]))
        lines.append(f"| {check.title} | {len(values):,} | {quantiles} |")
    return "\n".join([*lines, ""])


def sheets(all_of_them: list[Completed], student: str, out: Path) -> None:
    """Contact sheets of PEOPLE people of each dataset, and the list to count on."""
    rng = np.random.default_rng(SEED)
    cells: list[Image.Image] = []
    rows: list[list[str]] = []
    for one in all_of_them:
        proposals = to_write(one.proposals[student])
        for row in np.sort(rng.choice(len(one.people), min(PEOPLE, len(one.people)), replace=False)):
            person, proposal = one.people.take([row]), proposals.take([row])
            pixels = read_pixels(Path(one.images.path[one.images.rows_of(person.image_id)[0]]))
            number = len(cells) + 1
            title = f"{number}   {person.person_id[0]}"
            cells.append(contact_sheet.cell(pixels, person, proposal, float(one.head_px[row]), title))
            rows += contact_sheet.lines(number, proposal)
    contact_sheet.write_pages(out, cells)
    contact_sheet.write_list(out / "count.csv", rows)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--data", type=Path)
    what.add_argument("--counted", type=Path)
    parser.add_argument("--out", type=Path, default=Path("work_dirs/unlabelled"))
    parser.add_argument("--student", default="default")
    parser.add_argument("--split", default="test", choices=["choose", "test"])
    given = parser.parse_args()
    if given.counted:
        print(contact_sheet.counted(given.counted))
        return
    students = [given.student, TEACHERS]
    both = [complete(name, given.split, students, given.data, given.out) for name in ADDED]
    for name, one in zip(ADDED, both, strict=True):
        print(table(name, one), flush=True)
    print(right_answers(both), flush=True)
    sheets(both, given.student, given.out)
    print(f"{given.out}: contact sheets and count.csv")


if __name__ == "__main__":
    main()
