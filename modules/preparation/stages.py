"""The stages that turn an annotation and its images into a feature folder; each is skipped when its result is current."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from models.entity_scorer import EntityScorer, EntityScorerConfig
from modules.corpus.annotations import Study, check_images, read_annotation
from modules.corpus.bank import TrainingBank
from modules.corpus.datasets import prepare_reports
from modules.corpus.kept_features import KeptFeatures, built
from modules.corpus.made_from import remember_inputs
from modules.corpus.store import BANK_REPORTS, FeatureStore
from modules.corpus.store_writing import (
    remove_unfinished,
    write_axis,
    write_bank_reports,
    write_base_rates,
    write_feature,
)
from modules.corpus.text import split_sentences
from modules.distributed import barrier, from_main, is_main
from modules.labelling.labelers import RuleLabeler, find_labeler, label_studies
from modules.labelling.mentions import entity_mentions
from modules.labels import CONDITIONS, ENTITIES
from modules.messages import UserError
from modules.options.programs import MainPrepare
from modules.preparation.features.entities import (
    fill_scores,
    lacks_scorer,
    load_entity_scorer,
    report_aurocs,
    save_entity_scorer,
    score_images,
    scorer_origin,
)
from modules.preparation.features.entity_training import scorer_recipe, train_entity_scorer
from modules.preparation.features.familiarity import keep_familiarity
from modules.preparation.features.medklip import check_same_scorer, write_medklip_features
from modules.preparation.features.text_features import find_text_encoder, report_and_sentence_features
from modules.preparation.prepared_files import refuse_another_bank, refuse_other_studies
from modules.preparation.published.conversion import PublishedFiles
from modules.records import sha256_of
from modules.retrieval.neighbours import label_neighbours, memory_indices
from modules.run_folder import refuse_run
from modules.throughput import measured
from modules.weights.backbones import starting_weights


class Preparation:
    """One run of ``main_prepare.py`` over one annotation; with several processes, made and run by all of them.

    Args:
        options: of ``main_prepare.py``.
        device: where networks run.

    Raises:
        UserError: if the annotation is wrong, or if images or files that ``--published`` should hold are missing.
    """

    def __init__(self, options: MainPrepare, device: torch.device) -> None:
        self.options, self.device = options, device
        wanted = options.preparation
        self.folder, self.image_dir = Path(options.data.feature_dir), Path(options.data.image_dir)
        refuse_run(self.folder, "--feature_dir")
        self.splits = read_annotation(options.data.ann_path)
        self.studies = [study for studies in self.splits.values() for study in studies]
        refuse_other_studies(self.folder, [study.id for study in self.studies], options.data.ann_path)
        refuse_another_bank(self.folder, options.data.bank_dir)
        check_images(self.studies, self.image_dir)
        self.training = self.splits["train"]
        self.owns_bank = Path(options.data.bank_dir) == self.folder
        if self.owns_bank and not self.training:
            raise UserError(
                f"{options.data.ann_path} has no training studies: give the feature folder of the data set that the model was "
                "trained on with --bank_dir"
            )
        self.no_patient = wanted.exclude_same_patient is not False
        self.apart = self.training if self.no_patient and self.owns_bank else []  # their patients keep references apart
        self.source = {"annotation": sha256_of(options.data.ann_path)}
        self.published = None
        if wanted.published not in (None, "none"):
            self.published = PublishedFiles(
                Path(wanted.published), self.splits, self.owns_bank, bool(wanted.exclude_same_patient)
            )
            self.published.check(options.data)

    def run(self) -> FeatureStore:
        """Build whatever is not current and return the store; UserError if that would replace what is read or was trained on."""
        return built(self.folder, self.options.raw, self.build)

    def build(self, kept: KeptFeatures) -> FeatureStore:
        """:meth:`run`, in a folder of which ``kept`` says what may be replaced."""
        self.kept = kept
        kept.begin(self.source)
        write_axis(self.folder, "studies", [study.id for study in self.studies])
        if self.owns_bank:
            write_axis(self.folder, "training", [study.id for study in self.training])
        remember_inputs(self.folder, self.splits, self.image_dir, self.options.data.ann_path)
        self.labels()
        if self.published:
            self.published.convert(kept, np.dtype(self.options.preparation.feature_dtype), self.source)
        else:
            self.entities()
        if self.owns_bank:
            if self.published:
                self.bank_reports(self.cleaned(self.training))
            else:
                self.reports()
            self.neighbours()
        self.memory()
        remove_unfinished(self.folder)
        return FeatureStore.open(self.folder)

    def cleaned(self, studies: list[Study]) -> list[str]:
        """Reports as training and scoring see them."""
        data = self.options.data
        return prepare_reports([study.report for study in studies], data.cleaning, data.max_words)

    def labels(self) -> None:
        """States of every study, and the class prior."""
        options, labeler, rules = self.options, None, RuleLabeler()
        unlabelled = [study for study in self.studies if study.labels is None]
        if unlabelled:
            clinical = options.scorer.entity_scorer == "medklip"  # then --bert_path is the clinical one
            bert = None if clinical else options.labeler.bert_path
            labeler = find_labeler(options.labeler.chexbert_path, bert, self.device, self.folder)
        made_by = {**self.source, "labeler": f"{labeler.name} {labeler.checksum}" if labeler else "annotation"}
        if any(len(study.labels or ()) < len(CONDITIONS) for study in self.studies):
            made_by["auxiliary"] = f"{rules.name} {rules.checksum}"
        if not self.kept.current(made_by, "labels"):
            labels = label_studies(self.studies, labeler, rules)
            write_feature(self.folder, "labels", labels, axis="studies", made_by=made_by)
        if self.owns_bank:
            store = FeatureStore.open(self.folder)
            labels = np.asarray(store["labels"])[store.rows("studies", [study.id for study in self.training])]
            write_base_rates(self.folder, labels, self.published.base_rates() if self.published else None)

    def entities(self) -> None:
        """Entity scores and embeddings of every image, by MedKLIP or by a scorer trained on the training split."""
        options = self.options
        if not self.owns_bank:
            check_same_scorer(options.data.bank_dir, options.scorer.entity_scorer)
        if options.scorer.entity_scorer == "medklip":
            made = write_medklip_features(self.options, self.kept, self.studies, self.device, self.source)
        else:
            made = self.own_scores()
        if made or from_main(lambda: not (self.folder / "entity_auroc_val.json").is_file()):
            report_aurocs(self.folder, self.splits["val"])

    def own_scores(self) -> bool:
        """Scores and embeddings by our own scorer; returns whether there was anything to do."""
        scorer, made_by = self.entity_scorer()
        options, n, K, E = self.options, len(self.studies), len(ENTITIES), scorer.config.width
        wanted: dict[str, tuple[tuple[int, ...], str]] = {"region_scores": ((n, K), "float32")}
        if options.data.features == "stored":
            wanted["region_text"] = ((n, K, E), options.preparation.feature_dtype)
        plans: dict[str, dict[str, Any]] = {
            name: {"shape": shape, "dtype": dtype, "made_by": {**made_by, "dtype": dtype}}
            for name, (shape, dtype) in wanted.items()
        }
        plans = {name: plan for name, plan in plans.items() if not self.kept.current(plan["made_by"], name)}
        if plans:
            score = partial(score_images, scorer, self.studies, self.image_dir, options.loading.num_workers)
            fill_scores(self.folder, plans, n, score)
        if self.owns_bank:
            keep_familiarity(self.folder, scorer, made_by["scorer"], self.training, options)
        return bool(plans)

    def entity_scorer(self) -> tuple[EntityScorer, dict[str, Any]]:
        """The scorer of the bank, trained first if this is its own data set, and what its features are made by."""
        options, path = self.options, Path(self.options.data.bank_dir) / "entity_scorer.pth"
        if not self.owns_bank:
            return load_entity_scorer(path, self.device), {**self.source, "scorer": sha256_of(path)}
        config, schedule = scorer_recipe(options)
        backbone = starting_weights(options.scorer.visual_extractor, options.scorer.resnet_weights)
        made_by = {**self.source, **asdict(config), **schedule, "backbone": backbone}
        made_by.pop("num_workers")
        self.kept.refuse(made_by, "region_scores")
        if from_main(lambda: lacks_scorer(path, made_by)):
            self.kept.hold()
            self.train_scorer(path, config, schedule, made_by)
        return load_entity_scorer(path, self.device), {**made_by, "scorer": from_main(lambda: sha256_of(path))}

    def train_scorer(
        self, path: Path, config: EntityScorerConfig, schedule: dict[str, Any], made_by: dict[str, Any]
    ) -> None:
        """Train the entity scorer, or continue, and write it to ``path``."""
        work = path.with_name("entity_scorer_unfinished.pth")
        if is_main() and work.is_file() and scorer_origin(work) != made_by:
            work.unlink()
        barrier()
        with measured("entity scorer", len(self.training), None):
            scorer = train_entity_scorer(
                self.training,
                self.image_dir,
                entity_mentions([study.report for study in self.training]),
                config,
                schedule,
                self.device,
                work,
                made_by["backbone"],
                made_by,
            )
        if is_main():
            save_entity_scorer(path, scorer, made_by)
            work.unlink(missing_ok=True)
        barrier()

    def bank_reports(self, reports: Sequence[str]) -> None:
        """The cleaned training reports and their patients."""
        rows = zip(self.training, reports, strict=True)
        write_bank_reports(self.folder, ({"id": s.id, "patient": s.patient, "report": r} for s, r in rows))

    def reports(self) -> None:
        """Report and sentence features of the training reports."""
        options, data, seed = self.options.preparation, self.options.data, self.options.runtime.seed
        made_by = {
            **self.source,
            "encoder": options.text_encoder,
            "pooling": options.text_pooling,
            "width": options.text_width,
            "seed": seed,
            "cleaning": f"{data.cleaning} {data.max_words}",
            "dtype": options.feature_dtype,
        }
        made = self.kept.current(made_by, "report_features", "sentence_features", "sentence_offsets")
        if made and from_main(lambda: FeatureStore.open(self.folder).is_intact(BANK_REPORTS)):
            return
        reports = self.cleaned(self.training)
        self.bank_reports(reports)
        if made:
            return
        with measured("text features", len(reports)):
            sentences = (sentence for report in reports for sentence in split_sentences(report))
            encoder = find_text_encoder(
                options.text_encoder, sentences, options.text_width, seed, options.text_pooling, self.device
            )
            report_features, sentence_features, offsets = report_and_sentence_features(encoder, reports)
        for name, array, axis in (
            ("report_features", report_features, "training"),
            ("sentence_features", sentence_features, "sentences"),
        ):
            write_feature(self.folder, name, array.astype(options.feature_dtype), axis=axis, made_by=made_by)
        write_feature(self.folder, "sentence_offsets", offsets, axis="sentences", made_by=made_by)

    def neighbours(self) -> None:
        """Label-nearest training studies of every training study."""
        options = self.options
        patients = [study.patient if self.no_patient else None for study in self.training]
        others = len(patients) - max(Counter(filter(None, patients)).values(), default=1)
        k = max(1, min(options.preparation.neighbours, others))
        store = FeatureStore.open(self.folder)
        inputs = {"labels": store.entry("labels")["sha256"], "k": k, "no_patient": self.no_patient}
        made_by = inputs | self.kept.by_patients("label_neighbours", self.apart)
        if self.published and self.published.neighbours(self.kept, self.source):
            return
        if self.kept.current(made_by, "label_neighbours"):
            return
        ids = [study.id for study in self.training]
        with measured("label neighbours", len(ids), 2):
            labels = np.asarray(store["labels"])[store.rows("studies", ids)]
            rows = label_neighbours(labels, patients, k, ids=ids, device=self.device)
        write_feature(self.folder, "label_neighbours", rows, axis="training", made_by=made_by)

    def memory(self) -> None:
        """The training reports whose entity mentions best match the entity scores of every image."""
        options, store = self.options, FeatureStore.open(self.folder)
        bank = TrainingBank(FeatureStore.open(options.data.bank_dir))
        made_by = {
            "scores": store.entry("region_scores")["sha256"],
            "bank": bank.store.entry("report_features")["sha256"],
            "r": options.preparation.memory_size,
            "no_patient": self.no_patient,
        } | self.kept.by_patients("memory_indices", self.apart)
        if self.published and self.published.memory(self.kept, bank, self.source):
            return
        if self.kept.current(made_by, "memory_indices"):
            return
        bank_groups, query_groups = bank.groups(self.studies, self.no_patient)
        with measured("memory", len(self.studies), 2 if self.owns_bank else 1):
            rows = memory_indices(
                np.asarray(store["region_scores"]),
                entity_mentions(bank.reports),
                options.preparation.memory_size,
                query_groups=query_groups,
                bank_groups=bank_groups,
                bank_ids=bank.ids,
                device=self.device,
            )
        write_feature(self.folder, "memory_indices", rows, axis="studies", made_by=made_by)
