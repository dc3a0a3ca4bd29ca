"""What the doctor has found so far: problems in groups, with counts and first examples."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice

GROUPS = ("annotation", "images", "reports", "splits", "sizes", "features", "retrieval", "leaks")
LEVELS = ("error", "warning", "note")
_EXAMPLES = 3  # shown of each problem


@dataclass(frozen=True, slots=True)
class Problem:
    """One kind of problem.

    Args:
        level: ``"error"``: training is impossible or its result void; ``"warning"``: look at it; ``"note"``.
        group: one of ``GROUPS``.
        text: what is wrong and what to do.
        examples: the first of those that have it.
    """

    level: str
    group: str
    text: str
    examples: tuple[str, ...] = ()

    def lines(self) -> Iterator[str]:
        """As it is printed."""
        level = "ERROR" if self.level == "error" else self.level
        yield f"  {level:8s} {self.text}"
        yield from (f"             {example}" for example in self.examples)


@dataclass
class Diagnosis:
    """A list of problems that is added to while a data set is looked at."""

    problems: list[Problem] = field(default_factory=list)
    looked_at: set[str] = field(default_factory=set)

    def add(self, level: str, group: str, text: str, examples: Iterable[str] = ()) -> None:
        """Add a problem; ``{count}`` in the text is the number of examples, and without any nothing is added."""
        assert level in LEVELS
        self.looked_at.add(group)
        examples = list(examples)
        if examples or "{count}" not in text:
            first = tuple(islice((str(example) for example in examples), _EXAMPLES))
            self.problems.append(Problem(level, group, text.replace("{count}", f"{len(examples):,}"), first))

    def of(self, level: str) -> list[Problem]:
        """The problems of a level."""
        return [problem for problem in self.problems if problem.level == level]

    def lines(self) -> Iterator[str]:
        """The whole report, group by group."""
        for group in GROUPS:
            if group in self.looked_at:
                problems = [problem for problem in self.problems if problem.group == group]
                yield group if any(problem.level != "note" for problem in problems) else f"{group}: ok"
                for problem in sorted(problems, key=lambda problem: LEVELS.index(problem.level)):
                    yield from problem.lines()
        counts = [(len(self.of(level)), level) for level in ("error", "warning")]
        yield ", ".join(f"1 kind of {level}" if count == 1 else f"{count} kinds of {level}s" for count, level in counts)

    def exit_status(self, strict: bool) -> int:
        """2 with errors; 1 with warnings if ``strict``; else 0."""
        if self.of("error"):
            return 2
        return 1 if strict and self.of("warning") else 0
