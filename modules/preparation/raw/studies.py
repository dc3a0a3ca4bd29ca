"""Studies on their way from raw files to an annotation: which split each is in, and which are left out and why."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from tqdm import tqdm

from modules.corpus.annotations import SPLITS
from modules.corpus.nothing_said import says_nothing
from modules.messages import UserError

NOT_LISTED = "not in the split file"
SECTIONS = ("findings", "impression")
NO_SECTION = {  # what a study without one is left out for
    "findings": "no findings in the report", "impression": "no impression in the report",
    "both": "no findings and no impression in the report",
}  # fmt: skip
NO_FILE = "no image file"
LOSS = 0.05  # share of studies left out, above which it is said again at the end
LISTED = 20  # absent files that are named
_MASKED = re.compile(r"[^\s.,;:!?]*XXXX[^\s.,;:!?]*")


@dataclass(kw_only=True, slots=True)
class RawStudy:
    """One study before its images are looked at.

    Args:
        id: unique in its data set.
        patient: the same for all studies of a patient; None if nobody knows.
        images: paths below the raw image folder, the one to read first.
        report: text of the wanted section.
        split: ``"train"``, ``"val"``, ``"test"``, or None before it is drawn.
        labels: states of 14 or 18 conditions, if the raw files have them.
    """

    id: str
    patient: str | None
    images: tuple[str, ...]
    report: str
    split: str | None = None
    labels: tuple[int, ...] | None = None


@dataclass(kw_only=True)
class RawDataset:
    """What raw files hold.

    Args:
        studies: in the order of the annotation.
        image_root: folder that ``images`` start from, None if the images are not there.
        dropped: reason by id of every study that is left out.
        details: by id of a study that is left out, a sentence that belongs to it alone and follows its reason.
        notes: lines for the console on how the texts, patients and splits were found.
        looked_for: image files that are not there, as they were looked for.
        studies_before: how many studies there were, and how many of them were left out, before each image became an item.
    """

    studies: list[RawStudy]
    image_root: Path | None
    dropped: dict[str, str] = field(default_factory=dict)
    details: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    looked_for: list[str] = field(default_factory=list)
    studies_before: tuple[int, int] | None = None

    def split_into_images(self, of_study: Callable[[RawStudy], Sequence[RawStudy]]) -> None:
        """Make each image an item of its own; what is left out from here on are images."""
        self.studies_before = (len(self.studies) + len(self.dropped), len(self.dropped))
        self.studies = [image for study in self.studies for image in of_study(study)]

    def keep(self, reason: Callable[[RawStudy], str | None]) -> None:
        """Leave out every study for which ``reason`` returns one."""
        kept = []
        for study in self.studies:
            why = reason(study)
            if why is None:
                kept.append(study)
            else:
                self.dropped[study.id] = why
        self.studies = kept

    def reasons(self) -> dict[str, str]:
        """Why each study is left out, by id: ``dropped`` with ``details``."""
        return {
            name: f"{why}: {self.details[name]}" if name in self.details else why for name, why in self.dropped.items()
        }

    def keep_present(self, suffixes: Sequence[str] = ()) -> None:
        """Leave out images that are not on disk, and studies without any; ``suffixes`` are others that a file may have."""
        absent: list[str] = []
        root = self.require_root()
        for study in tqdm(self.studies, desc="images present", unit="study", leave=False):
            names = {path: _on_disk(root, path, suffixes) for path in study.images}
            absent += [f"{root}/{path}" for path, name in names.items() if name is None]
            study.images = tuple(name for name in names.values() if name is not None)
        self.keep(lambda study: None if study.images else NO_FILE)
        self.say_absent(absent)

    def say_absent(self, images: Sequence[str]) -> None:
        """Count image files that are not there, named as they were looked for."""
        self.looked_for += images
        if self.looked_for:
            named = ", ".join(self.looked_for[:LISTED])
            more = f" and {len(self.looked_for) - LISTED} more" if len(self.looked_for) > LISTED else ""
            self.notes.append(f"{len(self.looked_for)} image files were looked for and are not there: {named}{more}")

    def require_root(self) -> Path:
        """``image_root`` of a data set whose images were asked for."""
        assert self.image_root is not None, "the images were asked for"
        return self.image_root

    def require_studies(self, source: object) -> None:
        """Refuse a data set of which nothing is left.

        Raises:
            UserError: with the reasons, and the first image file that was looked for.
        """
        if not self.studies and not self.dropped:
            raise UserError(
                f"{source} holds no report at all: give the files as they are published, or download them again"
            )
        if not self.studies:
            counts = Counter(self.dropped.values()).most_common(4)
            reasons = ", ".join(f"{count} {why}" for why, count in counts)
            other_section = {NO_SECTION["findings"]: "impression", NO_SECTION["impression"]: "findings"}
            other = other_section.get(counts[0][0])
            advice = f"give --section {other} if the reports have one" if other else "correct this"
            looked = f"; the first image looked for was {self.looked_for[0]}" if self.looked_for else ""
            raise UserError(
                f"none of the {len(self.dropped)} studies of {source} can be used ({reasons}{looked}): {advice}"
            )

    def losses(self, where: str | Path = "dropped.csv") -> list[str]:
        """A warning if more than one study in twenty was left out other than by a split file, and one for images likewise.

        Args:
            where: the file that lists them.
        """
        reasons = list(self.dropped.values())
        parts = [("studies", reasons, len(self.studies))]
        if self.studies_before:
            whole, early = self.studies_before
            parts = [("studies", reasons[:early], whole - early), ("images", reasons[early:], len(self.studies))]
        lines = []
        for things, found, kept in parts:
            lost = sum(reason != NOT_LISTED for reason in found)
            if lost > LOSS * (kept + lost):
                why = ", ".join(f"{count} {reason}" for reason, count in Counter(found).most_common(4))
                share = f"{lost} of {kept + lost} {things} ({lost / (kept + lost):.0%})"
                lines.append(f"warning: {share} are left out: {why}; see {where}")
        absent, named = len(self.looked_for), len(self.studies) + len(self.looked_for)
        if self.studies_before and absent > LOSS * named:
            lines.append(f"warning: {absent} of {named} images ({absent / named:.0%}) are not there, and no items")
        return lines

    def summary(self) -> list[str]:
        """Lines for the console: sizes of the splits, what was left out, notes."""
        sizes = Counter(study.split for study in self.studies)
        lines = [f"{len(self.studies)} items: " + ", ".join(f"{split} {sizes[split]}" for split in SPLITS)]
        lines += [f"left out: {count} ({why})" for why, count in Counter(self.dropped.values()).most_common()]
        return lines + self.notes


def _on_disk(root: Path, path: str, suffixes: Sequence[str]) -> str | None:
    """The path, or the same file under another suffix; None if neither is there."""
    names = (path, *(str(PurePosixPath(path).with_suffix(suffix)) for suffix in suffixes))
    return next((name for name in names if (root / name).is_file()), None)


def join_sections(findings: str, impression: str, section: str) -> str:
    """The text that ``--section`` asks for; empty if the report lacks it, or says nothing there.

    Args:
        findings: text of the findings, may be empty.
        impression: text of the impression, may be empty.
        section: ``"findings"``, ``"impression"`` or ``"both"``, which takes whatever of the two is there.
    """
    wanted = {"findings": [findings], "impression": [impression], "both": [findings, impression]}[section]
    return " ".join(dict.fromkeys(text for text in wanted if not says_nothing(text)))


def unmask(text: str, how: str) -> str:
    """Treat the ``XXXX`` that IU X-Ray's de-identification left in place of words.

    Args:
        text: a report.
        how: ``"keep"`` as published, ``"word"`` removes the words that hold one, ``"sentence"`` the sentences.
    """
    if how == "keep" or "XXXX" not in text:
        return text
    sentences = re.split(r"(?<=[.?!])\s+", text)
    if how == "sentence":
        return " ".join(sentence for sentence in sentences if "XXXX" not in sentence)
    unmasked = (_MASKED.sub("", sentence) for sentence in sentences)
    with_words = " ".join(sentence for sentence in unmasked if re.search(r"\w", sentence))
    return re.sub(r"\s+([.,;:!?])", r"\1", " ".join(with_words.split()))
