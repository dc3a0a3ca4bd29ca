"""A prepared feature folder of a few made-up studies, written and opened as the programs do, and a data set of such studies."""

import numpy as np

from modules.corpus.annotations import Study
from modules.corpus.bank import TrainingBank
from modules.corpus.datasets import ReportDataset
from modules.corpus.store import FeatureStore
from modules.corpus.store_writing import write_axis, write_bank_reports, write_feature
from modules.corpus.text import split_sentences
from modules.corpus.tokenizer import ReportTokenizer

WIDTH = 8


def small_bank(folder, reports, labels, *, others=(), scores=None, offsets=None, sentences=None):
    """The bank of training studies ``reports``, report by id; its folder knows ``others`` as well.

    ``labels`` ``(n, L)`` and ``scores`` ``(n, K)`` are of the training studies, then of the others; ``sentences`` and
    their ``offsets`` are of the reports, one vector for each sentence if not given.
    """
    ids, rng = [*reports, *others], np.random.default_rng(0)
    if offsets is None:
        offsets = np.cumsum([0, *(len(split_sentences(report)) for report in reports.values())])
    if sentences is None:
        sentences = rng.normal(size=(offsets[-1], WIDTH)).astype(np.float16)
    write_axis(folder, "studies", ids)
    write_axis(folder, "training", list(reports))
    for name, array, axis in (
        ("labels", np.asarray(labels, dtype=np.int8), "studies"),
        ("region_scores", np.zeros((len(ids), 75), np.float32) if scores is None else scores, "studies"),
        ("report_features", rng.normal(size=(len(reports), WIDTH)).astype(np.float16), "training"),
        ("sentence_features", sentences, "sentences"),
        ("sentence_offsets", np.asarray(offsets), "sentences"),
    ):
        write_feature(folder, name, array, axis=axis, made_by={})
    write_bank_reports(folder, [{"id": i, "patient": None, "report": report} for i, report in reports.items()])
    return TrainingBank(FeatureStore.open(folder))


def small_set(bank, reports, image="{}.png"):
    """The studies ``reports``, report by id, which the folder of the bank knows; their images lie there, if anywhere."""
    studies = [Study(id=i, image_path=(image.format(i),), report=report, split="test") for i, report in reports.items()]
    tokenizer = ReportTokenizer.from_reports(reports.values(), 1)
    return ReportDataset(
        studies, bank.store.directory, bank.store, bank, tokenizer, image_size=32, max_report_tokens=20
    )
