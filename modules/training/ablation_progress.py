"""How far an ablation is: what is printed after every run."""

from __future__ import annotations

from collections.abc import Sequence

from modules.training.ablations import Job


def progress(
    wanted: Sequence[Job], left: Sequence[Job], seconds: float, done: int, at_once: int, broken: Sequence[Job] = ()
) -> str:
    """How far the ablation is: a line for each row with a mark for each seed, and the time left.

    Args:
        wanted: all jobs.
        left: those that have not ended.
        seconds: since the start.
        done: jobs ended since then.
        at_once: jobs at a time.
        broken: jobs that ended without a line.
    """
    rows = list(dict.fromkeys(job.row.name for job in wanted))
    width = max(map(len, rows))

    def mark(job: Job) -> str:
        if job in broken:
            return "!"
        return "." if job in left else "x"

    marks = {row: "".join(mark(job) for job in wanted if job.row.name == row) for row in rows}
    lines = [f"  {row:{width}}  {marks[row]}" for row in rows]
    summary = f"{len(wanted) - len(left) - len(broken)} of {len(wanted)} runs are finished"
    if broken:
        summary += f", {len(broken)} failed"
    if done and left:
        summary += f", {seconds * at_once / done / 60:.1f} min a run, about {_span(seconds / done * len(left))} left"
    return "\n".join([*lines, summary])


def _span(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{max(minutes, 1)} min"
