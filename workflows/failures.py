"""Known failures of students: on whom, and of what kind; every label hidden, the fused teachers beside.

    python -m workflows.failures --data DATA --out work_dirs/results [--student default union21-t] [--split test]

Two Markdown tables a dataset, with 95 % intervals by image: the figure by kind of person (`workflows.hard_cases`), and
types of error by keypoint (`workflows.error_types`); LSP, which has no areas, has the first alone. What the teachers
share is the photograph's, not the student's. Last, of each student, the lines for its card. Proposals that
`workflows.results` made in the same folder are read. `workflows.failure_pictures` shows some on packaged photographs.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from annotator.evaluation import tables
from workflows.error_types import ERRORS, TYPES
from workflows.failure_figures import METRIC, TYPED, Measured, Share, Split, beyond_edge
from workflows.hard_cases import EVERYBODY, HARD

TEACHERS = "teachers"
COMMON = 0.05  # share of keypoints above which a type of error is a known failure


def case_table(split: Split, found: Sequence[Measured]) -> list[str]:
    """Markdown: a row a kind of person, a column a student."""
    columns = [one.by_case(split.metric, split.who) for one in found]
    lines = [f"### {split.name}: {tables.TITLES[split.metric]} by kind of person", ""]
    lines += [f"| people | told by | n | {' | '.join(one.student for one in found)} |"]
    lines += [f"|---|---|---|{'---|' * len(found)}"]
    for case, first in columns[0].items():
        cells = " | ".join(column[case].cell(split.metric) for column in columns)
        lines.append(f"| {case} | {split.told[case]} | {first.n} | {cells} |")
    return [*lines, ""]


def type_table(split: Split, found: Sequence[Measured]) -> list[str]:
    """Markdown: a row a group of keypoints and student, a column a type of error."""
    lines = [f"### {split.name}: types of error, % of labelled keypoints", ""]
    lines += [f"| keypoints | n | student | {' | '.join(TYPES)} |", f"|---|---|---|{'---|' * len(TYPES)}"]
    for group in found[0].by_type:
        for one in found:
            row = one.by_type[group]
            cells = " | ".join(row[kind].cell("pck") for kind in TYPES)
            lines.append(f"| {group} | {row[TYPES[0]].n:,} | {one.student} | {cells} |")
    return [*lines, ""]


def edge_line(split: Split, found: Sequence[Measured]) -> list[str]:
    """How often what the picture's edge cuts off is put inside the picture."""
    shares = [(one.student, beyond_edge(split.dataset, one)) for one in found]
    said = ", ".join(f"{student} {share.cell('pck')} %" for student, share in shares)
    n = shares[0][1].n
    return [
        f"Of the {n:,} keypoints without a label, mostly beyond the picture's edge, put inside it: {said}.",
        "",
    ]


def named(split: Split, one: Measured) -> Iterator[tuple[str, str]]:
    """A student's known failures, each with its figure.

    Hard cases whose interval lies below the figure for everybody, and for each type of error the keypoints among which
    it is most common, where it is more than COMMON of them and the dataset's types are told.
    """
    by_case, title = one.by_case(split.metric, split.who), tables.TITLES[split.metric].split(",")[0]
    unit = " %" if split.metric.startswith("pck") else ""
    everybody = by_case[EVERYBODY].value
    for case, share in by_case.items():
        if case in HARD and share.high < everybody:
            beside = f"{share.n} people, everybody {tables.cell(split.metric, everybody)}{unit}"
            said = f"{title} {_with_unit(share, split.metric, unit)} on {split.name}, n = {beside}"
            yield f"{case} ({split.told[case]})", said
    for kind, meaning in ERRORS.items() if split.typed else ():
        group = max(one.by_type, key=lambda group: one.by_type[group][kind].value)
        share = one.by_type[group][kind]
        if share.value > COMMON:
            said = f"{_with_unit(share, 'pck', ' %')} on {split.name}, n = {share.n:,} keypoints"
            yield f"{kind} of {group} ({meaning})", said
    if split.name.startswith("mpii"):
        share = beyond_edge(split.dataset, one)
        said = f"{_with_unit(share, 'pck', ' %')} inside the picture on {split.name}, n = {share.n:,} without a label"
        yield "keypoints beyond the picture's edge (each gets a place all the same)", said


def card_lines(failures: Iterable[tuple[str, str]]) -> list[str]:
    """One line a failure, what each dataset says of it behind one another.

    >>> card_lines([("small", "1 on a"), ("lying", "2 on a"), ("small", "3 on b")])
    ['small: 1 on a; 3 on b', 'lying: 2 on a']
    """
    said: dict[str, list[str]] = {}
    for failure, figure in failures:
        said.setdefault(failure, []).append(figure)
    return [f"{failure}: {'; '.join(figures)}" for failure, figures in said.items()]


def _with_unit(share: Share, metric: str, unit: str) -> str:
    value, bounds = share.cell(metric).split(" ", 1)
    return f"{value}{unit} {bounds}"


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--student", nargs="+", default=["default"])
    parser.add_argument("--split", default="test", choices=["choose", "test"])
    given = parser.parse_args()
    known: dict[str, list[tuple[str, str]]] = {}
    for name in METRIC if given.split == "test" else TYPED:
        split = Split.read(name, given.split, given.data, given.out)
        found = [split.measure(student, given.out) for student in (*given.student, TEACHERS)]
        print("\n".join(case_table(split, found)), flush=True)
        if split.typed:
            print("\n".join(type_table(split, found)), flush=True)
        if name == "mpii":
            print("\n".join(edge_line(split, found)), flush=True)
        for one in found[:-1]:
            known.setdefault(", ".join(one.weights), []).extend(named(split, one))
    for weights, failures in known.items():
        lines = [f"- {line}" for line in card_lines(failures)]
        print("\n".join([f"### Known failures of {weights} (sha256)", "", *lines, ""]))


if __name__ == "__main__":
    main()
