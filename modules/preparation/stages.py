"""The stages that turn an annotation and its images into a feature folder; each is skipped when its result is current."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from models.config import VISUAL_EXTRACTORS
from models.entity_scorer import EntityScorer, EntityScorerConfig
from modules.checkpoints import load_weights
from modules.corpus.annotations import Study, check_images, pad_labels, read_annotation
from modules.corpus.bank import TrainingBank
from modules.corpus.datasets import prepare_reports
from modules.corpus.features import (
    FeatureStore,
    create_feature,
    is_current,
    write_axis,
    write_bank_reports,
    write_feature,
)
from modules.corpus.text import split_sentences
from modules.labels import CONDITIONS, ENTITIES
from modules.preparation.entities import (
    entity_aurocs,
    load_entity_scorer,
    save_entity_scorer,
    score_images,
    train_entity_scorer,
)
from modules.preparation.labelers import find_labeler
from modules.preparation.medklip import write_medklip_features
from modules.preparation.mentions import entity_mentions
from modules.preparation.neighbours import label_neighbours, memory_indices
from modules.preparation.text_features import find_text_encoder, report_and_sentence_features
from modules.records import sha256_of, write_json


class Preparation:
    """One run of ``main_prepare.py`` over one annotation.

    Args:
        options: parsed flags.
        device: where networks run.

    Raises:
        ValueError: if the annotation is wrong.
        FileNotFoundError: if images are missing.
    """

    def __init__(self, options: Namespace, device: torch.device) -> None:
        self.options, self.device = options, device
        self.folder, self.image_dir = Path(options.feature_dir), Path(options.image_dir)
        self.splits = read_annotation(options.ann_path)
        self.studies = [study for studies in self.splits.values() for study in studies]
        check_images(self.studies, self.image_dir)
        self.training = self.splits["train"]
        self.owns_bank = Path(options.bank_dir) == self.folder
        if self.owns_bank and not self.training:
            raise ValueError(
                f"{options.ann_path} has no training studies: give the feature folder of the data set that the model was "
                "trained on with --bank_dir"
            )
        self.source = {"annotation": sha256_of(options.ann_path)}

    def run(self) -> FeatureStore:
        """Build whatever is not current and return the store."""
        write_axis(self.folder, "studies", [study.id for study in self.studies])
        if self.owns_bank:
            write_axis(self.folder, "training", [study.id for study in self.training])
        self.labels()
        self.entities()
        if self.owns_bank:
            self.reports()
            self.neighbours()
        self.memory()
        return FeatureStore.open(self.folder)

    def cleaned(self, studies: list[Study]) -> list[str]:
        """Reports as training and scoring see them."""
        return prepare_reports([study.report for study in studies], self.options.cleaning, self.options.max_words)

    def labels(self) -> None:
        """States of every study: from the annotation where it has them, else from the labeler."""
        unlabelled = [i for i, study in enumerate(self.studies) if study.labels is None]
        options = self.options
        bert = None if options.entity_scorer == "medklip" else options.bert_path  # then it is the clinical one
        labeler = find_labeler(options.chexbert_path, bert, self.device) if unlabelled else None
        made_by = {**self.source, "labeler": f"{labeler.name} {labeler.checksum}" if labeler else "annotation"}
        if is_current(self.folder, "labels", made_by):
            return
        labels = np.zeros((len(self.studies), len(CONDITIONS)), dtype=np.int8)
        for i, study in enumerate(self.studies):
            if study.labels is not None:
                labels[i] = pad_labels(study.labels)
        if unlabelled:
            found = labeler([self.studies[i].report for i in unlabelled])
            labels[unlabelled, : found.shape[1]] = found
        write_feature(self.folder, "labels", labels, axis="studies", made_by=made_by)

    def entities(self) -> None:
        """Entity scores and embeddings of every image, by MedKLIP or by a scorer trained on the training split."""
        self.check_bank_scorer()
        if self.options.entity_scorer == "medklip":
            if write_medklip_features(self.options, self.folder, self.studies, self.device, self.source):
                self.report_aurocs()
            return
        scorer, made_by = self.entity_scorer()
        if is_current(self.folder, "region_text", made_by) and is_current(self.folder, "region_scores", made_by):
            return
        n, K, E = len(self.studies), len(ENTITIES), scorer.config.width
        common = {"axis": "studies", "made_by": made_by}
        with (
            create_feature(self.folder, "region_scores", shape=(n, K), dtype=np.float32, **common) as all_scores,
            create_feature(self.folder, "region_text", shape=(n, K, E), dtype=np.float16, **common) as all_text,
        ):
            images = score_images(scorer, self.studies, self.image_dir, 64, self.options.num_workers)
            for rows, scores, text in images:
                all_scores[rows], all_text[rows] = scores, text
        self.report_aurocs()

    def check_bank_scorer(self) -> None:
        """Refuse to read images with another scorer than those of the bank, whose scores they will be compared with."""
        if self.owns_bank:
            return
        made_by = FeatureStore.open(self.options.bank_dir).entry("region_scores")["made_by"]
        own = "own" if "visual_extractor" in made_by else None  # nothing is said of imported features
        theirs, wanted = made_by.get("entity_scorer", own), self.options.entity_scorer
        if theirs not in (None, wanted):
            raise ValueError(
                f"the images of the bank {self.options.bank_dir} were read with --entity_scorer {theirs}, these are to be "
                f"read with {wanted}, and their scores would not compare: give --entity_scorer {theirs}"
            )

    def report_aurocs(self) -> None:
        """Print and store how well the scores of validation images agree with the mentions in their reports."""
        validation = self.splits["val"]
        if not validation:
            return
        store = FeatureStore.open(self.folder)
        scores = store["region_scores"][store.rows("studies", [study.id for study in validation])]
        aurocs = entity_aurocs(scores, entity_mentions([study.report for study in validation]))
        if aurocs:
            write_json(self.folder / "entity_auroc_val.json", aurocs)
            mean = np.mean(list(aurocs.values()))
            print(f"entity scorer: mean AUROC {mean:.3f} over {len(aurocs)} entities on {len(validation)} val studies")

    def entity_scorer(self) -> tuple[EntityScorer, dict[str, Any]]:
        """The scorer of the bank, trained first if this is its own data set, and what its features are made by."""
        options, path = self.options, Path(self.options.bank_dir) / "entity_scorer.pth"
        if not self.owns_bank:
            return load_entity_scorer(path, self.device), {**self.source, "scorer": sha256_of(path)}
        config = EntityScorerConfig(
            visual_extractor=options.visual_extractor,
            visual_dim=VISUAL_EXTRACTORS[options.visual_extractor],
            num_entities=len(ENTITIES),
            width=options.scorer_width,
            layers=options.scorer_layers,
            heads=8 if options.scorer_width % 8 == 0 else 1,
            dropout=0.1,
            image_size=options.image_size,
        )
        schedule = {
            "epochs": options.scorer_epochs,
            "lr": options.scorer_lr,
            "batch_size": options.batch_size,
            "seed": options.seed,
            "precision": options.precision,
            "num_workers": options.num_workers,
        }
        made_by = {**self.source, **asdict(config), **schedule, "backbone": options.resnet_weights}
        made_by.pop("num_workers")
        if path.is_file() and load_weights(path).get("made_by") == made_by:
            return load_entity_scorer(path, self.device), made_by
        mentions = entity_mentions([study.report for study in self.training])
        work = path.with_name("entity_scorer_unfinished.pth")
        if work.is_file() and load_weights(work).get("made_by") != made_by:
            work.unlink()
        scorer = train_entity_scorer(
            self.training,
            self.image_dir,
            mentions,
            config,
            schedule,
            self.device,
            work,
            options.resnet_weights,
            made_by,
        )
        save_entity_scorer(path, scorer, made_by)
        work.unlink(missing_ok=True)
        return scorer, made_by

    def reports(self) -> None:
        """Report and sentence features of the training reports."""
        options = self.options
        made_by = {
            **self.source,
            "encoder": options.text_encoder,
            "width": options.text_width,
            "seed": options.seed,
            "cleaning": f"{options.cleaning} {options.max_words}",
        }
        if is_current(self.folder, "report_features", made_by) and is_current(self.folder, "sentence_offsets", made_by):
            return
        reports = self.cleaned(self.training)
        rows = zip(self.training, reports, strict=True)
        write_bank_reports(self.folder, ({"id": s.id, "patient": s.patient, "report": r} for s, r in rows))
        sentences = (sentence for report in reports for sentence in split_sentences(report))
        encoder = find_text_encoder(options.text_encoder, sentences, options.text_width, options.seed, self.device)
        report_features, sentence_features, offsets = report_and_sentence_features(encoder, reports)
        write_feature(self.folder, "report_features", report_features, axis="training", made_by=made_by)
        write_feature(self.folder, "sentence_features", sentence_features, axis="sentences", made_by=made_by)
        write_feature(self.folder, "sentence_offsets", offsets, axis="sentences", made_by=made_by)

    def neighbours(self) -> None:
        """Label-nearest training studies of every training study."""
        options = self.options
        k = min(options.neighbours, len(self.training) - 1)
        store = FeatureStore.open(self.folder)
        made_by = {"labels": store.entry("labels")["sha256"], "k": k, "no_patient": options.exclude_same_patient}
        if is_current(self.folder, "label_neighbours", made_by):
            return
        ids = [study.id for study in self.training]
        rows = label_neighbours(
            np.asarray(store["labels"])[store.rows("studies", ids)],
            [study.patient for study in self.training] if options.exclude_same_patient else None,
            k,
            device=self.device,
        )
        write_feature(self.folder, "label_neighbours", rows, axis="training", made_by=made_by)

    def memory(self) -> None:
        """The training reports whose entity mentions best match the entity scores of every image."""
        options, store = self.options, FeatureStore.open(self.folder)
        bank = TrainingBank(FeatureStore.open(options.bank_dir))
        made_by = {
            "scores": store.entry("region_scores")["sha256"],
            "bank": bank.store.entry("report_features")["sha256"],
            "r": options.memory_size,
            "no_patient": options.exclude_same_patient,
        }
        if is_current(self.folder, "memory_indices", made_by):
            return
        bank_groups, query_groups = bank.groups(self.studies, options.exclude_same_patient)
        rows = memory_indices(
            np.asarray(store["region_scores"]),
            entity_mentions(bank.reports),
            options.memory_size,
            query_groups=query_groups,
            bank_groups=bank_groups,
            device=self.device,
        )
        write_feature(self.folder, "memory_indices", rows, axis="studies", made_by=made_by)
