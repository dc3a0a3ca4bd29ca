"""Generate the reports of a split."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from models.beam_search import GenerationLimits
from models.revtaf import FusedStudy, Revtaf, StudyInputs
from modules.corpus.dataloaders import blamed_inputs, evaluation_batches, evaluation_loader
from modules.corpus.datasets import Batch, ReportDataset
from modules.corpus.tokenizer import ReportTokenizer
from modules.distributed import autocast, gather_list, is_main
from modules.evaluation.kept_rows import KeptRows
from modules.evaluation.metrics.clinical import clinical_sums
from modules.evaluation.metrics.sufficient_sums import StudySums
from modules.evaluation.reranking import best_hypothesis
from modules.evaluation.second_search import SecondSearch
from modules.labelling.labelers import Labeler
from modules.labels import CONDITIONS, POSITIVE
from modules.messages import UserError
from modules.options.flags import GenerationOptions, LoadingOptions


@dataclass(frozen=True)
class Search:
    """How reports are searched for.

    Attributes:
        limits: beams and lengths.
        labeler: with it the hypotheses of the search are ranked anew, see :func:`best_hypothesis`.
        maps: whether their sides count too.
        second_beams: beams of the second search, 0 for none; it needs the labeler.
        guidance: of the second search.
    """

    limits: GenerationLimits
    labeler: Labeler | None = None
    maps: bool = False
    second_beams: int = 0
    guidance: float = 0.0

    def second(self, tokenizer: ReportTokenizer) -> SecondSearch | None:
        """The second search, for reports of this ``tokenizer``; None without one."""
        if self.labeler is None or not self.second_beams:
            return None
        return SecondSearch(
            limits=replace(self.limits, beams=self.second_beams),
            guidance=self.guidance,
            tokenizer=tokenizer,
            labeler=self.labeler,
            maps=self.maps,
        )

    def write(self, model: Revtaf, study: StudyInputs, tokenizer: ReportTokenizer) -> tuple[Tensor, Tensor, FusedStudy]:
        """Write the reports of a batch: what :meth:`models.revtaf.Revtaf.generate` returns."""
        state_ids = torch.tensor(tokenizer.state_ids, device=study.image.device)
        choose = None
        if self.labeler:
            map_view = model.config.map_view
            choose = partial(
                best_hypothesis, tokenizer=tokenizer, labeler=self.labeler, maps=self.maps, map_view=map_view
            )
        tokens, certainty, fused = model.generate(study, tokenizer.start_id, state_ids, self.limits, choose)
        second = self.second(tokenizer)
        if second is not None:
            tokens, certainty = second(model, fused, tokens, certainty)
        return tokens, certainty, fused


def search_of(options: GenerationOptions, labeler: Labeler | None) -> Search:
    """The search that the flags ask for; ``labeler`` is needed for ``--rerank states`` and ``maps``."""
    limits = GenerationLimits(
        beams=options.beam_size, min_length=options.gen_min_len, max_new_tokens=options.gen_max_len
    )
    if options.rerank == "none":
        return Search(limits)
    return Search(limits, labeler, options.rerank == "maps", options.second_search, options.guidance)


def generate_reports(
    model: Revtaf,
    dataset: ReportDataset,
    search: Search,
    *,
    device: torch.device,
    precision: str,
    loading: LoadingOptions,
    watch: Sequence[Callable[[Batch, FusedStudy], None]] = (),
    kept: KeptRows | None = None,
) -> list[dict[str, Any]]:
    """Write the report of every study of ``dataset``, with a bar; its reference rows must be set.

    The studies are shared among the processes; every process gets the whole list. Each of ``watch`` is shown every
    batch of this process and what was known of it before the first word. With ``kept`` an interrupted generation goes on
    where it was.

    Returns:
        One row per study, in order: ``id``, ``image``, ``reference`` (and ``reference_full``), ``prediction``, ``retrieved``
        (id or None) and ``retrieved_report`` (text or None) of the first reference, ``mean_token_log_probability``, ``states``
        (L,) as numbers, ``positive_probability`` (L,) and ``state_probability`` (P, L).
    """
    batches = evaluation_batches(len(dataset), loading.at_once)
    rows = [row for batch in batches for row in kept.done(batch)] if kept is not None else []
    with tqdm(total=len(dataset), initial=len(rows), desc="generate", unit="report", disable=not is_main()) as bar:
        for written in write_batches(
            model, dataset, search, device=device, precision=precision, loading=loading, watch=watch, kept=kept
        ):
            rows += written
            bar.update(len(written))
            bar.set_postfix(words=len(written[-1][1]["prediction"].split()))
    return [row for _, row in sorted(gather_list(rows), key=lambda pair: pair[0])]


@torch.no_grad()
def write_batches(
    model: Revtaf,
    dataset: ReportDataset,
    search: Search,
    *,
    device: torch.device,
    precision: str,
    loading: LoadingOptions,
    watch: Sequence[Callable[[Batch, FusedStudy], None]] = (),
    kept: KeptRows | None = None,
) -> Iterator[list[tuple[int, dict[str, Any]]]]:
    """This process's share of :func:`generate_reports`, each batch as soon as it is written; what is ``kept`` is not.

    Yields:
        Index and row of every study of a batch.
    """
    model.eval()
    tokenizer = dataset.tokenizer
    batches = evaluation_batches(len(dataset), loading.at_once)
    if kept is not None:
        batches = [batch for batch in batches if not kept.done(batch)]
    for batch in evaluation_loader(dataset, loading.at_once, loading.num_workers, batches):
        if kept is not None:
            kept.between()
        batch = dataset.to_device(finite(dataset, batch), device)
        with autocast(device, precision):
            tokens, certainty, fused = search.write(model, batch.study, tokenizer)
        probability = fused.state_logits.float().softmax(dim=1)  # (B, P, L)
        states = probability.argmax(dim=1).tolist()  # (B, L)
        for look in watch:
            look(batch, fused)
        rows = []
        for b, index in enumerate(batch.index):
            row = _row(dataset, index, tokenizer.decode(tokens[b].tolist()))
            row["mean_token_log_probability"] = round(float(certainty[b]), 4)
            row["states"] = states[b]
            row["state_probability"] = [[round(p, 4) for p in state] for state in probability[b].tolist()]
            row["positive_probability"] = row["state_probability"][POSITIVE]
            rows.append((index, row))
        if kept is not None:
            kept.add(rows)
        yield rows


def finite(dataset: ReportDataset, batch: Batch) -> Batch:
    """A batch, or UserError if a feature of a study is not finite: of a large array its opening read only the head."""
    if wrong := blamed_inputs([dataset.studies[index].id for index in batch.index], batch):
        raise UserError(wrong)
    return batch


def _row(dataset: ReportDataset, index: int, prediction: str) -> dict[str, Any]:
    study, retrieved = dataset.studies[index], int(dataset.reference_rows[index])
    return {
        "id": study.id,
        "image": study.image_path[0],
        **reference_fields(dataset, index),
        "prediction": prediction,
        "retrieved": dataset.bank.ids[retrieved] if retrieved >= 0 else None,
        "retrieved_report": dataset.bank.reports[retrieved] if retrieved >= 0 else None,
    }


def reference_fields(dataset: ReportDataset, index: int) -> dict[str, str]:
    """The ``reference`` of a row, and ``reference_full`` where it was cut: whoever scores the row again reads that one."""
    reference, whole = dataset.reports[index], dataset.full_reports[index]
    return {"reference": reference, **({} if whole == reference else {"reference_full": whole})}


def state_sums(states: np.ndarray, labels: np.ndarray, thirds: Mapping[str, str] | None = None) -> StudySums:
    """Clinical efficacy of the predicted states ``(n, L)`` themselves, against the labels ``(n, L)``."""
    sums = clinical_sums(states, labels, CONDITIONS, thirds)
    names = {"ce_f1": "state_f1", "ce_f1_macro": "state_f1_macro"}
    names |= {f"ce_f1_macro_{third}": f"state_f1_macro_{third}" for third in set((thirds or {}).values())}

    def figures(summed: np.ndarray) -> dict[str, np.ndarray]:
        values = sums.figures(summed)
        return {ours: values[name] for name, ours in names.items()}

    return StudySums(sums.values, figures)
