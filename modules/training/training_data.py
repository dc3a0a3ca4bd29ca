"""What a training reads: the studies of both splits with their features, and the sizes that a model of them has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from models.config import RevtafConfig
from modules.corpus.annotations import Study, check_images, read_annotation, require_split
from modules.corpus.bank import TrainingBank
from modules.corpus.datasets import ReportDataset, prepare_reports, sizes_read
from modules.corpus.made_from import refuse_other_inputs
from modules.corpus.pairing import refuse_wrong_pairing, require_own_bank
from modules.corpus.store import FeatureStore
from modules.corpus.tokenizer import ReportTokenizer, vocabulary_file
from modules.corpus.vocabularies import bert_folder, tokenizer_of
from modules.distributed import is_main
from modules.labelling.labelers import labeler_files
from modules.labels import CONDITIONS
from modules.messages import Needed
from modules.options.flags import BERT_FOLDER, DataOptions
from modules.options.parsing import model_config
from modules.options.preparation_flags import CheckOptions
from modules.options.programs import MainTrain
from modules.options.set_size import fit_to_size, length_defaults, size_defaults
from modules.preparation.doctor.examination import refuse_errors
from modules.preparation.features.entities import find_scorer
from modules.preparation.prepared_files import prepared_files
from modules.preparation.published.recognition import how_to_prepare
from modules.processes.watch import processes_started
from modules.records import read_object
from modules.retrieval.references import own_in_memory, refuse_too_many
from modules.weights.backbones import needed_backbone, read_folder


def needed_files(options: MainTrain) -> list[Needed]:
    """Everything a training reads."""
    data = options.data
    needed = prepared_files(data)
    if data.features == "online":
        how = how_to_prepare(data)
        needed.append(Needed(Path(data.bank_dir) / "entity_scorer.pth", "entity scorer", how))
    return needed + given_files(options)


def given_files(options: MainTrain) -> list[Needed]:
    """What of it no preparation makes."""
    start, labeler = options.start, options.labeler
    needed = []
    if start.init_from:
        needed.append(Needed(start.init_from, "trained model", "give one of main_train.py, or the released state dict"))
    elif start.tokenizer == "bert" and not str(labeler.bert_path).startswith("hub:"):
        words = vocabulary_file(labeler.bert_path or BERT_FOLDER)
        how = (
            "see checkpoints/README.md and give --bert_path, or --bert_path hub:bert-base-uncased, or --tokenizer corpus, "
            "which needs no file"
        )
        needed.append(Needed(words, "vocabulary of bert-base-uncased", how))
    if start.resnet_weights not in (None, "download"):
        needed.append(needed_backbone(start.resnet_weights, options.model.visual_extractor))
    return needed + labeler_files(labeler.chexbert_path, labeler.bert_path)


def fit_to_data(options: MainTrain) -> list[str]:
    """Let what the command line leaves open follow from the size of one's own data set; lines that say so."""
    if options.data.dataset_name != "custom" or not Path(options.data.ann_path).is_file():
        return []
    training = require_split(read_annotation(options.data.ann_path), "train", options.data.ann_path)
    return [fit_to_reports(options, [study.report for study in training])]


def fit_to_reports(options: MainTrain, reports: list[str]) -> str:
    """:func:`fit_to_data` for these training reports."""
    lengths = length_defaults(prepare_reports(reports, options.data.cleaning, options.data.max_words))
    lengths["gen_max_len"] = min(lengths["gen_max_len"], options.model.max_positions - 1 - len(CONDITIONS))
    return fit_to_size(options, {**size_defaults(len(reports), _processes(options)), **lengths})


def _processes(options: MainTrain) -> int:
    """How many processes share the training; of one that is resumed, with how many it began: its flags stay what they were."""
    path = Path(options.run.save_dir) / "options.json"
    if options.training.resume and path.is_file():
        return int(read_object(path).get("processes", 1))
    return processes_started()


@dataclass
class TrainingData:
    """The studies that a model is trained and validated on.

    Attributes:
        train: training studies; their references are not yet set.
        val: validation studies, likewise.
        store: features of both.
        config: of a model of the chosen options that reads these features and writes with this vocabulary.
    """

    train: ReportDataset
    val: ReportDataset
    store: FeatureStore
    config: RevtafConfig

    @classmethod
    def open(cls, options: MainTrain, checkpoint: Mapping[str, Any] | None, device: torch.device) -> TrainingData:
        """Read all of it.

        Args:
            options: of ``main_train.py``.
            checkpoint: of the model that training starts from, if any.
            device: of the entity scorer, with ``--features online``.

        Raises:
            UserError: if the doctor finds errors, a split is empty or images are missing; if features, bank and scorer do
                not belong together; if a size that was chosen does not fit them; if studies have fewer references than asked for.
        """
        require_own_bank(FeatureStore.open(options.data.feature_dir), options.data.feature_dir, options.data.bank_dir)
        splits = _studies(options)
        store = _features(options.data)
        refuse_other_inputs(store, [study for part in splits.values() for study in part], options.data.image_dir)
        tokenizer = _tokenizer(options, splits["train"], checkpoint)
        scorer = find_scorer(options.data.features, options.data.bank_dir, device)
        config = model_config(
            options.model,
            report_feature_dim=store["report_features"].shape[1],
            entity_text_dim=scorer.config.width if scorer else store["region_text"].shape[2],
            vocab_size=tokenizer.vocab_size,
            pad_id=tokenizer.pad_id,
            end_id=tokenizer.end_id,
            visual_folder=checkpoint["config"].get("visual_folder")
            if checkpoint
            else read_folder(options.model.visual_extractor, options.model.image_size),
        )
        shared: dict[str, Any] = {"store": store, "bank": TrainingBank(store), "tokenizer": tokenizer, "scorer": scorer}
        datasets = {
            name: ReportDataset(studies, Path(options.data.image_dir), **sizes_read(config), **shared)
            for name, studies in splits.items()
        }
        for dataset in datasets.values():
            dataset.use_reports(options.data.cleaning, options.data.max_words)
        refuse_too_many(datasets["train"], config.references, options)
        if is_main():
            _warn_of_features(datasets["train"], options)
        return cls(datasets["train"], datasets["val"], store, config)


def _warn_of_features(dataset: ReportDataset, options: MainTrain) -> None:
    """Say what the features do otherwise than the flags of the training: the memory's patients, and how reports were cleaned."""
    own = own_in_memory(dataset) if options.training.exclude_same_patient and options.model.memory_layers else 0
    if own:
        print(
            f"warning: the memory of {own} of {len(dataset)} training studies holds a report of their own patient: main_prepare.py "
            "--exclude_same_patient makes it without"
        )
    otherwise = dataset.bank.cleaned_otherwise(options.data.cleaning, options.data.max_words)
    if otherwise:
        print(f"warning: {otherwise}: give both alike to main_prepare.py and main_train.py")


def _studies(options: MainTrain) -> dict[str, list[Study]]:
    """The studies of training and validation, once the fast part of the doctor has nothing against them."""
    if options.training.check and is_main():
        looked_at = CheckOptions(image_size=options.model.image_size, num_workers=options.loading.num_workers)
        refuse_errors(options.data, looked_at)
    annotation = read_annotation(options.data.ann_path)
    splits = {name: require_split(annotation, name, options.data.ann_path) for name in ("train", "val")}
    if not options.training.check:
        check_images([study for studies in splits.values() for study in studies], Path(options.data.image_dir))
    return splits


def _features(data: DataOptions) -> FeatureStore:
    """The features of the annotation, which are whole and hold their own bank."""
    store = FeatureStore.open(data.feature_dir, data.ann_path)
    refuse_wrong_pairing(store, store, data.features)
    return store


def _tokenizer(options: MainTrain, training: list[Study], checkpoint: Mapping[str, Any] | None) -> ReportTokenizer:
    """The vocabulary of the model that training starts from, with the new words of these reports, else as the flags say."""
    if checkpoint:
        known = tokenizer_of(str(options.start.init_from), checkpoint, options.labeler.bert_path)
        return known.extended(_cleaned(training, options.data), options.start.threshold)
    if options.start.tokenizer == "bert":
        return ReportTokenizer.from_bert(bert_folder(options.labeler.bert_path or BERT_FOLDER))
    return ReportTokenizer.from_reports(_cleaned(training, options.data), options.start.threshold)


def _cleaned(studies: list[Study], data: DataOptions) -> list[str]:
    """Their reports as they are trained on."""
    return prepare_reports([study.report for study in studies], data.cleaning, data.max_words)
