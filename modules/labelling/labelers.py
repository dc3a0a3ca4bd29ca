"""From report texts to condition states: rules that need nothing, or CheXbert where its checkpoint stands.

A labeler is called with reports and returns one state per report and condition: 0 blank (not mentioned), 1 positive,
2 negative, 3 uncertain. It says what it is through ``name``, ``checksum`` and ``conditions``, which belong beside every
figure made with it: labels of two labelers are not comparable.
"""

from __future__ import annotations

import hashlib
import inspect
import re
from collections import ChainMap
from collections.abc import Hashable, MutableMapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from tqdm import tqdm

from modules.corpus.annotations import Study
from modules.distributed import gather_list, is_main, shard
from modules.labelling import answers, assertions, condition_rules, entries, listed, marks, markup, numbers, structured
from modules.labelling.assertions import assertion_map, normalised_sentences
from modules.labels import BLANK, CONDITIONS, NEGATIVE, POSITIVE, STATES, UNCERTAIN
from modules.messages import Needed, UserError
from modules.throughput import measured

if TYPE_CHECKING:
    import torch

RANK = np.zeros(
    len(STATES), dtype=np.int8
)  # by state: of two states of one condition in one report the higher one stands
RANK[[BLANK, NEGATIVE, UNCERTAIN, POSITIVE]] = 0, 1, 2, 3
NO_FINDING = CONDITIONS.index("no finding")
ABNORMAL = tuple(CONDITIONS.index(name) for name in CONDITIONS[:NO_FINDING] if name != "support devices")


class Labeler(Hashable, Protocol):
    """What every labeler offers."""

    @property
    def name(self) -> str:
        """``"rule"`` or ``"chexbert"``."""
        ...

    @property
    def checksum(self) -> str:
        """Of its rules or weights."""
        ...

    @property
    def conditions(self) -> tuple[str, ...]:
        """The columns of what it returns."""
        ...

    def __call__(self, reports: Sequence[str]) -> np.ndarray:
        """``(n, len(conditions))`` int8 states of n reports."""
        ...

    def label_once(self, reports: Sequence[str]) -> np.ndarray:
        """The same of reports that will hardly come again: nothing of them is kept."""
        ...


def _compiled(patterns: tuple[str, ...]) -> re.Pattern[str] | None:
    return re.compile(rf"\b(?:{'|'.join(patterns)})\b") if patterns else None


def _blanked(pattern: re.Pattern[str], sentence: str) -> str:
    """The sentence, as long as before, without the words that ``pattern`` finds."""
    return pattern.sub(lambda match: "#" * len(match[0]), sentence)


class RuleLabeler:
    """States of all 18 conditions by the tables of ``condition_rules`` and the scopes of ``assertions``.

    Works on raw and on cleaned text. Per condition: any positive mention makes it positive, else any uncertain one
    uncertain, else any denial negative, else it stays blank. "No finding" is positive where no other of the first 13
    conditions, support devices aside, is positive or uncertain, else blank.

    Clear lungs deny lung opacity and consolidation; a normal heart size denies cardiomegaly, a normal cardiomediastinal
    silhouette also an enlarged cardiomediastinum. Consolidation, infiltrate and airspace disease are lung opacities.

    Source: CheXpert (Irvin et al., AAAI 2019) for states, aggregation and "no finding"; rules and words are our own.
    """

    name = "rule"
    conditions = CONDITIONS

    def __init__(self) -> None:
        tables = (condition_rules.PRESENT, condition_rules.NORMAL, condition_rules.BORDERLINE, condition_rules.MASKED)
        programs = (answers, assertions, entries, listed, marks, markup, numbers, structured)  # rules that are no table
        rules = f"{tables}{''.join(map(inspect.getsource, programs))}"
        self.checksum = hashlib.sha256(rules.encode()).hexdigest()[:12]
        self._rules = [
            (column, [_compiled(table.get(condition, ())) for table in tables])
            for column, condition in enumerate(CONDITIONS)
            if condition != "no finding"
        ]
        self._known: dict[str, bytes] = {}

    def __call__(self, reports: Sequence[str]) -> np.ndarray:
        """States of n reports as ``(n, 18)`` int8."""
        return self._states(reports, self._known)

    def label_once(self, reports: Sequence[str]) -> np.ndarray:
        """The same, keeping no sentence that was not known."""
        return self._states(reports, ChainMap({}, self._known))

    def _states(self, reports: Sequence[str], known: MutableMapping[str, bytes]) -> np.ndarray:
        states = np.zeros((len(reports), len(CONDITIONS)), dtype=np.int8)
        for row, report in enumerate(
            tqdm(reports, desc="labels by rule", unit="report", leave=False, delay=2, disable=not is_main())
        ):
            for sentence in normalised_sentences(report):
                if sentence not in known:
                    known[sentence] = bytes(self._sentence_states(sentence))
                found = np.frombuffer(known[sentence], dtype=np.int8)
                states[row] = np.where(RANK[found] > RANK[states[row]], found, states[row])
        states[:, NO_FINDING] = ~np.isin(states[:, ABNORMAL], (POSITIVE, UNCERTAIN)).any(axis=1)
        return states

    def _sentence_states(self, sentence: str) -> list[int]:
        """State of every condition in one normalised sentence; "no finding" stays blank."""
        states = [BLANK] * len(CONDITIONS)
        asserted = assertion_map(sentence)
        for column, (present, normal, borderline, masked) in self._rules:
            text = _blanked(masked, sentence) if masked else sentence
            found = set()
            for state, pattern in ((UNCERTAIN, borderline), (NEGATIVE, normal)):
                if pattern and pattern.search(text):
                    found.add(state)
                    text = _blanked(pattern, text)  # what is borderline is not normal, and neither is a finding
            if present:
                found.update(asserted[match.end() - 1] for match in present.finditer(text))
            states[column] = max(found, key=RANK.__getitem__, default=BLANK)
        return states


def labeler_files(chexbert_path: str | Path | None, bert_path: str | Path | None) -> list[Needed]:
    """What labelling needs besides CheXbert's checkpoint, where that is there: known before any work begins."""
    from modules.corpus.tokenizer import vocabulary_file
    from modules.corpus.vocabularies import HUB_PREFIX
    from modules.options.flags import BERT_FOLDER

    if not (chexbert_path and Path(chexbert_path).is_file()) or str(bert_path).startswith(HUB_PREFIX):
        return []
    what = f"vocabulary of bert-base-uncased, which CheXbert reads with ({chexbert_path} is there)"
    how = "see checkpoints/README.md and give its folder with --bert_path; --chexbert_path none labels by rules"
    return [Needed(vocabulary_file(bert_path or BERT_FOLDER), what, how)]


def find_labeler(
    chexbert_path: str | Path | None = None,
    bert_path: str | Path | None = None,
    device: str | torch.device | None = None,
    cache_dir: str | Path | None = None,
) -> Labeler:
    """CheXbert if its checkpoint exists, else the rules, which one printed line says.

    Args:
        chexbert_path: ``chexbert.pth`` as its authors publish it.
        bert_path: ``vocab.txt`` of bert-base-uncased, the folder that holds it, or ``hub:<name>``;
            ``checkpoints/bert-base-uncased`` if absent.
        device: where CheXbert runs, the CPU if absent.
        cache_dir: folder that keeps CheXbert's states of every text, from one program to the next.

    Raises:
        UserError: if the checkpoint exists, and the vocabulary or torch does not; if the checkpoint is not one of CheXbert.
    """
    if chexbert_path and Path(chexbert_path).is_file():
        if find_spec("torch") is None:
            raise UserError(
                f"{chexbert_path} is CheXbert, which needs torch: pip install -r requirements.txt, or give --chexbert_path none "
                "and label by rule"
            )
        from modules.corpus.vocabularies import bert_folder
        from modules.labelling.chexbert import ChexbertLabeler
        from modules.options.flags import BERT_FOLDER

        return ChexbertLabeler(
            chexbert_path, bert_folder(bert_path or BERT_FOLDER), device or "cpu", cache_dir=cache_dir
        )
    labeler = RuleLabeler()
    reason = f"there is no {chexbert_path}" if chexbert_path else "no CheXbert checkpoint was given"
    if str(chexbert_path) == "none":
        reason = "--chexbert_path none asks for it"
    if is_main():
        print(f"conditions are labelled by rule ({labeler.checksum}): {reason}", flush=True)
    return labeler


def label_studies(studies: Sequence[Study], labeler: Labeler | None, rules: RuleLabeler) -> np.ndarray:
    """States of every study: the annotation's, else the labeler's, and by rule what neither of them has.

    CheXbert, and many annotations, know 14 conditions; the 4 auxiliary ones are then labelled by rule. What neither the
    annotation nor a report says of a study stays blank.

    Args:
        studies: n studies.
        labeler: labels reports that have no labels; none is needed where all of them have.
        rules: labels what is left.

    Returns:
        ``(n, 18)`` int8.
    """
    states = np.zeros((len(studies), len(CONDITIONS)), dtype=np.int8)
    known = np.array([len(study.labels or ()) for study in studies])
    reported = np.array([bool(study.report) for study in studies], dtype=bool)
    for row, study in zip(states, studies, strict=True):
        row[: len(study.labels or ())] = study.labels or ()
    if known.min(initial=len(CONDITIONS)) == len(CONDITIONS):
        return states
    with measured("labels", int((known < len(CONDITIONS)).sum())):
        for wanted, who in ((1, labeler), (len(CONDITIONS), rules)):
            rows = np.flatnonzero((known < wanted) & reported)
            if len(rows):
                assert who is not None, "a labeler is needed where labels are missing"
                found = label_together(who, [studies[int(i)].report for i in rows])
                for i, said in zip(rows, found, strict=True):
                    states[i, known[i] : len(said)] = said[known[i] :]
                known[rows] = np.maximum(known[rows], found.shape[1])
    return states


def label_together(labeler: Labeler, reports: Sequence[str]) -> np.ndarray:
    """States of reports ``(n, 14 or 18)``, which the processes share; equal texts go to one of them."""
    unique = list(dict.fromkeys(reports))
    mine = shard(list(range(len(unique))))
    states = gather_list(list(zip(mine, labeler([unique[i] for i in mine]), strict=True)))
    by_text = {unique[i]: row for i, row in states}
    return np.array([by_text[report] for report in reports])
