"""What a test reads: a trained model, the studies of a split with their features, and who labels their reports."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from models.config import FlagError, RevtafConfig
from models.revtaf import FusedStudy, Revtaf
from modules.corpus.annotations import Study, check_images, read_annotation, require_split
from modules.corpus.bank import TrainingBank
from modules.corpus.datasets import Batch, ReportDataset, sizes_read
from modules.corpus.made_from import refuse_other_inputs
from modules.corpus.pairing import refuse_other_features, refuse_wrong_pairing
from modules.corpus.store import FeatureStore
from modules.corpus.tokenizer import ReportTokenizer
from modules.corpus.vocabularies import bert_vocabulary, tokenizer_of
from modules.distributed import is_main
from modules.evaluation.generation import generate_reports, search_of
from modules.evaluation.rescoring import kept_reports
from modules.labelling.labelers import Labeler, find_labeler, labeler_files
from modules.labelling.two_labelers import check_one_labeler
from modules.messages import Needed, UserError
from modules.options.flags import DataOptions
from modules.options.programs import MainTest
from modules.options.search_flags import settle_search
from modules.prediction.training_places import how_to_test, trained_epochs
from modules.preparation.features.entities import find_scorer
from modules.preparation.prepared_files import bank_features, prepared_files
from modules.records import read_object, sha256_of
from modules.retrieval.retriever import require_fitted
from modules.run_folder import RESULTS_OF
from modules.weights.checkpoints import build_model, load_checkpoint, refuse_release
from modules.weights.fast import speed_up
from modules.weights.saving import BEST, CURRENT


def needed_files(options: MainTest) -> list[Needed]:
    """Everything a test reads; UserError if the model has no vocabulary beside it and is none."""
    needed = [
        *prepared_files(options.data),
        *([] if Path(options.data.bank_dir) == Path(options.data.feature_dir) else [bank_features(options.data)]),
        Needed(options.testing.load_pretrained, "trained model", _how_to_train(Path(options.testing.load_pretrained))),
    ]
    checkpoint = Path(options.testing.load_pretrained)
    if checkpoint.is_dir():
        refuse_release(checkpoint)
        raise UserError(
            f"--load_pretrained {checkpoint} is a folder: give the model in it, such as {checkpoint / BEST}"
        )
    tokenizer = checkpoint.with_name("tokenizer.json")
    if not tokenizer.is_file() and not bert_vocabulary(options.labeler.bert_path):
        if checkpoint.is_file():
            load_checkpoint(checkpoint)  # of a file that is no model, what lacks beside it is not what is wrong
        how = (
            "main_train.py writes it beside the checkpoint: copy both; a released model has none and needs vocab.txt of "
            "bert-base-uncased instead: give its folder with --bert_path"
        )
        needed.append(Needed(tokenizer, "vocabulary of the trained model", how))
    return needed + labeler_files(options.labeler.chexbert_path, options.labeler.bert_path)


def _how_to_train(path: Path) -> str:
    """How to get a model: from a training that has not ended, if one lies where the model should be."""
    current = path.with_name(CURRENT)
    if path.name == BEST and current.is_file():
        return (
            f"{current} is of a training that was interrupted before its first validation: continue it with --resume, or "
            f"test it as it is with --load_pretrained {current}"
        )
    return "train one with train_*.sh or main_train.py, or give --load_pretrained"


@dataclass
class EvaluatedSplit:
    """A trained model and the studies that it is tested on.

    Attributes:
        model: on its device, in evaluation mode.
        dataset: the studies of the split; their references are not yet set.
        annotation: the studies of every split.
        labeler: labels generated reports, as the studies were labelled.
        steps: that the model was trained for, None where its checkpoint does not say.
        epochs: see :func:`modules.prediction.training_places.trained_epochs`.
    """

    model: Revtaf
    dataset: ReportDataset
    annotation: dict[str, list[Study]]
    labeler: Labeler
    steps: int | None
    epochs: dict[str, int] | None

    @classmethod
    def open(cls, options: MainTest, device: torch.device) -> EvaluatedSplit:
        """Read all of it.

        Raises:
            UserError: if the split is empty or images are missing; if model, features, bank and labeler do not belong
                together.
        """
        path = options.testing.load_pretrained
        checkpoint = load_checkpoint(path)
        if is_main() and "released" in checkpoint["run"]:
            print(checkpoint["run"]["released"])
        tokenizer = tokenizer_of(path, checkpoint, options.labeler.bert_path)
        model = build_model(checkpoint).to(device).eval()
        require_fitted(model, path)
        try:
            settle_search(options.generation, options.given, options.data.dataset_name, model.config.prompt)
        except FlagError as error:
            raise UserError(f"{path}: {error}") from error
        speed_up(model, device, options.speed.fast_cpu, options.speed.fast_gpu)
        annotation = read_annotation(options.data.ann_path)
        studies = require_split(annotation, options.testing.split, options.data.ann_path)
        check_images(studies, Path(options.data.image_dir))
        unreported = sum(not study.report for study in studies)
        if is_main() and unreported:
            rest = f"the scores are of the other {len(studies) - unreported}"
            scored = rest if unreported < len(studies) else "nothing is scored"
            print(f"{unreported} of {len(studies)} studies have no report of their own: theirs are written, {scored}")
        features = _features(options, checkpoint["run"].get("trained_on"))
        refuse_other_inputs(features[0], studies, options.data.image_dir)
        dataset = _study_set(options.data, studies, features, model.config, tokenizer, device)
        otherwise = dataset.bank.cleaned_otherwise(options.data.cleaning, options.data.max_words)
        if is_main() and otherwise:
            print(f"warning: {otherwise}: the model writes as its references are, and is scored against these reports")
        labeler = _labeler(options, features[0], device)
        run = checkpoint["run"]
        return cls(model, dataset, annotation, labeler, run.get("steps"), trained_epochs(path, run))

    def reports(
        self, options: MainTest, device: torch.device, watch: Sequence[Callable[[Batch, FusedStudy], None]]
    ) -> list[dict[str, Any]]:
        """The reports of the split: written, or with ``--rescore`` those that the run's folder holds.

        Each of ``watch`` is shown every batch and what was known of it, as in
        :func:`modules.evaluation.generation.generate_reports`, whose rows these are.
        """
        if options.testing.rescore:
            return kept_reports(Path(options.run.save_dir), self.dataset)
        search, precision = search_of(options.generation, self.labeler), options.compute.precision
        how: dict[str, Any] = {"device": device, "precision": precision, "loading": options.loading, "watch": watch}
        return generate_reports(self.model, self.dataset, search, **how)

    def results_of(self, options: MainTest) -> dict[str, str]:
        """What the results are of: checksums, and how reports were searched for; ``--rescore`` keeps what wrote them."""
        how, path = options.generation, options.testing.load_pretrained
        written = {
            "annotation": sha256_of(options.data.ann_path),
            "bank": self.dataset.bank.store.entry("report_features")["sha256"],
            "search": f"{how.beam_size} beams, {how.gen_min_len} to {how.gen_max_len} tokens, --rerank {how.rerank}"
            + (f", --second_search {how.second_search} --guidance {how.guidance:g}" if how.second_search else ""),
        }
        if options.testing.rescore:
            results = Path(options.run.save_dir) / RESULTS_OF
            known = read_object(results) if results.is_file() else None
            written = {} if known is None else {name: known.get(name, now) for name, now in written.items()}
        scored = {} if len(self.dataset.with_report) else {"scored": "no study"}
        return {"checkpoint": sha256_of(path), "split": options.testing.split, **written, **scored}


def _features(options: MainTest, origin: dict[str, Any] | None) -> tuple[FeatureStore, FeatureStore]:
    """The features of the studies and those of the bank, which belong together and to the ``origin`` of the model."""
    store = FeatureStore.open(options.data.feature_dir, options.data.ann_path)
    bank = FeatureStore.open(options.data.bank_dir).check()
    refuse_wrong_pairing(store, bank, options.data.features)
    refuse_other_features(origin, bank, Path(options.testing.load_pretrained), lambda: how_to_test(options, origin))
    return store, bank


def _study_set(
    data: DataOptions,
    studies: list[Study],
    features: tuple[FeatureStore, FeatureStore],
    config: RevtafConfig,
    tokenizer: ReportTokenizer,
    device: torch.device,
) -> ReportDataset:
    """The studies with their features and cleaned reports."""
    store, bank = features
    dataset = ReportDataset(
        studies,
        Path(data.image_dir),
        store,
        TrainingBank(bank),
        tokenizer,
        **sizes_read(config),
        scorer=find_scorer(data.features, data.bank_dir, device),
    )
    dataset.use_reports(data.cleaning, data.max_words)
    return dataset


def _labeler(options: MainTest, store: FeatureStore, device: torch.device) -> Labeler:
    """Who labels the reports, if that is who labelled the studies; says which labeler made what."""
    cache = Path(options.run.save_dir).parent / "label_cache"
    labeler = find_labeler(options.labeler.chexbert_path, options.labeler.bert_path, device, cache)
    said = check_one_labeler(store, labeler, options.data.dataset_name, options.run.allow_two_labelers)
    if is_main():
        print(*said, sep="\n")
    return labeler
