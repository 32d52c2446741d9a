"""What a push or a pull came to, for people and as JSON."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from annotator.decisions import DECIDED
from annotator.errors import InputError


@dataclass(frozen=True)
class Pushed:
    """What a push came to.

    Attributes:
        round: number of the round.
        tasks: all of the round's.
        new: those that were not there before.
        people: asked about in them.
        gone: chosen people who are not there any more, since the reviewers who had found them took that back.
        project, title, url: where they are.
    """

    round: int
    tasks: int
    new: int
    people: int
    gone: int
    project: int
    title: str
    url: str

    def summary(self) -> dict[str, Any]:
        """Numbers for `--json`."""
        return dict(self.__dict__)

    def lines(self) -> list[str]:
        """The same for people."""
        return [
            f"round {self.round}: {self.people:,} people in {self.tasks:,} tasks, {self.new:,} of them new",
            *([f"{self.gone:,} chosen people are gone: their reviewers took them back"] if self.gone else []),
            f"{self.title}: {self.url}",
        ]


@dataclass
class Pulled:
    """What a pull came to.

    Attributes:
        answers: new versions of submitted annotations, skipped ones not counted.
        skipped: new versions of skipped ones; they decide nothing.
        decisions: new ones by word.
        new_people, moved_boxes: how many.
        traps_missed: displaced proposals that were submitted as they were.
        problems: what could not be understood, one line each.
        elsewhere: rounds that were pushed, but not to this server.
        edited: projects that were passed over, since their configuration was changed by hand; an error's words each.
    """

    answers: int = 0
    skipped: int = 0
    decisions: Counter[str] = field(default_factory=Counter)
    new_people: int = 0
    moved_boxes: int = 0
    traps_missed: int = 0
    problems: list[str] = field(default_factory=list)
    elsewhere: list[int] = field(default_factory=list)
    edited: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.answers or self.skipped or self.problems)

    def add(self, other: Pulled) -> None:
        """Count what another came to as well."""
        for name in self.__dict__:
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def check(self) -> None:
        """Raise InputError where a project was passed over; what the others came to is in the store."""
        if self.edited:
            raise InputError("; ".join(self.edited))

    def summary(self) -> dict[str, Any]:
        """Numbers for `--json`."""
        return {**self.__dict__, "decisions": {word: self.decisions[word] for word in DECIDED}}

    def lines(self) -> list[str]:
        """The same for people; problems are the last lines."""
        made = ", ".join(f"{self.decisions[word]:,} {word}" for word in DECIDED if self.decisions[word]) or "none"
        lines = [f"{self.answers:,} answers, {self.skipped:,} skipped; decisions: {made}"]
        if self.new_people or self.moved_boxes:
            lines.append(f"{self.new_people:,} new people, {self.moved_boxes:,} boxes moved")
        if self.traps_missed:
            lines.append(f"{self.traps_missed:,} traps submitted as they were")
        if self.elsewhere:
            lines.append(f"not on this server: round {', '.join(map(str, sorted(self.elsewhere)))}")
        if self.problems:
            lines.append(f"{len(self.problems):,} could not be understood:")
        return [*lines, *self.problems]
