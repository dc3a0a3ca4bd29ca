"""Plans for synthetic studies, at random: how often each sign is drawn, with what, where and how clearly."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist

import numpy as np

from modules.labels import CONDITIONS, MIMIC_POSITIVE_RATES, POSITIVE, UNCERTAIN
from modules.preparation.synthetic.plan import (
    AORTA,
    ATELECTASIS,
    CONSOLIDATION,
    DEVICES,
    DIAPHRAGM,
    EDEMA,
    EFFUSION,
    FRACTURE,
    HEART,
    IMPLIED,
    LESION,
    MEDIASTINUM,
    NO_FINDING,
    OPACITY,
    PLEURA,
    PNEUMONIA,
    PNEUMOTHORAX,
    SEVERITIES,
    SIDES,
    SPINE,
    VOLUME,
    ZONES,
    Sign,
    StudyPlan,
)

AUXILIARY = (AORTA, SPINE, DIAPHRAGM, VOLUME)
AUXILIARY_POSITIVE_RATES = (0.08, 0.09, 0.05, 0.12)
POSITIVE_RATES = (*MIMIC_POSITIVE_RATES, *AUXILIARY_POSITIVE_RATES)  # wanted shares of positive labels

# Faint signs, as a share of the clear ones. Devices are never in doubt, and "no finding" is nothing drawn.
_UNCERTAIN_SHARE = {
    MEDIASTINUM: 0.15, HEART: 0.08, OPACITY: 0.08, LESION: 0.15, EDEMA: 0.2, CONSOLIDATION: 0.25, PNEUMONIA: 0.5,
    ATELECTASIS: 0.15, PNEUMOTHORAX: 0.12, EFFUSION: 0.1, PLEURA: 0.12, FRACTURE: 0.12, AORTA: 0.08, SPINE: 0.08,
    DIAPHRAGM: 0.1, VOLUME: 0.06,
}  # fmt: skip

# Loadings of the conditions on hidden causes: what shares a cause is seen together more often than by chance.
_CAUSES = (
    {HEART: 0.6, EDEMA: 0.8, EFFUSION: 0.6, MEDIASTINUM: 0.4, DEVICES: 0.4},  # heart failure
    {OPACITY: 0.35, CONSOLIDATION: 0.5, PNEUMONIA: 0.5, EFFUSION: 0.25},  # infection
    {PNEUMOTHORAX: 0.75, FRACTURE: 0.7, DEVICES: 0.35, PLEURA: 0.25},  # trauma
    {VOLUME: 0.65, ATELECTASIS: 0.7, DIAPHRAGM: 0.5, DEVICES: 0.2},  # shallow breath
    {AORTA: 0.6, SPINE: 0.6, HEART: 0.25, PLEURA: 0.4, LESION: 0.3},  # age
)
_ALONE = 0.2  # share of the auxiliary signs that stay where there is no other: they are mostly found along the way
_COMPANY = 1.22  # how much more often auxiliary signs are planned, to make up for those that do not stay

_SEVERITY_ODDS = (0.35, 0.4, 0.25)
_PATIENT_SIZE_ODDS = (0.8, 0.14, 0.06)  # patients with 1, 2, 3 studies


def plan_studies(num_studies: int, num_val: int, num_test: int, seed: int, readers: int = 0) -> list[StudyPlan]:
    """Plan a data set.

    Args:
        num_studies: studies in all.
        num_val: studies of the validation split.
        num_test: studies of the test split.
        seed: of everything random.
        readers: radiologists who share the studies among them by chance; 0 for reports without anybody's habits.

    Returns:
        The plans in order of their index. No patient is in two splits.
    """
    patients, splits = _assign_patients(num_studies, num_val, num_test, np.random.default_rng([seed, 0]))
    reader_of = np.random.default_rng([seed, 8]).integers(readers, size=num_studies).tolist() if readers else None
    return [
        StudyPlan(
            seed,
            index,
            patient,
            splits[patient],
            plan_signs(np.random.default_rng([seed, 1, index])),
            None if reader_of is None else reader_of[index],
        )
        for index, patient in enumerate(patients)
    ]


def _assign_patients(num_studies: int, num_val: int, num_test: int, rng: np.random.Generator) -> tuple[list, list]:
    """Patient index of each study, split of each patient. Splits have exactly the wanted number of studies."""
    few = num_studies < 30  # then splits of a study or two could not be filled with larger patients
    sizes = rng.choice((1, 2, 3), size=num_studies, p=(1, 0, 0) if few else _PATIENT_SIZE_ODDS)
    patients = np.repeat(np.arange(num_studies), sizes)[:num_studies]
    sizes = np.bincount(patients)
    splits = ["train"] * len(sizes)
    missing = {"test": num_test, "val": num_val}
    for patient in rng.permutation(len(sizes)):
        for split in missing:
            if 0 < sizes[patient] <= missing[split]:
                splits[patient] = split
                missing[split] -= int(sizes[patient])
                break
    return patients.tolist(), splits


def _thresholds() -> tuple[np.ndarray, np.ndarray]:
    """Latent values above which a condition is drawn clearly, and drawn at all, both (18,)."""
    clear, faint = np.full(len(CONDITIONS), np.inf), np.full(len(CONDITIONS), np.inf)
    for condition, rate in enumerate(POSITIVE_RATES):
        if condition != NO_FINDING:
            for other, implied in IMPLIED.items():
                if condition == implied:
                    rate -= POSITIVE_RATES[other] * (1 - rate)
            if condition in AUXILIARY:
                rate *= _COMPANY
            clear[condition] = NormalDist().inv_cdf(1 - rate)
            faint[condition] = NormalDist().inv_cdf(1 - rate * (1 + _UNCERTAIN_SHARE.get(condition, 0.0)))
    return clear, faint


def _loadings() -> np.ndarray:
    """Loadings of the conditions on the hidden causes, (18, causes)."""
    loadings = np.zeros((len(CONDITIONS), len(_CAUSES)))
    for cause, members in enumerate(_CAUSES):
        for condition, loading in members.items():
            loadings[condition, cause] = loading
    return loadings


_CLEAR, _FAINT = _thresholds()
_LOADINGS = _loadings()
_OWN = np.sqrt(1 - (_LOADINGS**2).sum(axis=1))  # what is left to each condition alone, so that its variance is 1


def plan_signs(rng: np.random.Generator) -> tuple[Sign, ...]:
    """Draw the signs of one study: which, how clear, where.

    A Gaussian copula with one factor per hidden cause: whatever the correlations, its marginals are the wanted rates,
    save for the auxiliary signs that are taken away again where nothing else is found.

    Args:
        rng: generator of this study.

    Returns:
        The signs, ordered by condition; several of one condition for devices.
    """
    latent = _LOADINGS @ rng.standard_normal(len(_CAUSES)) + _OWN * rng.standard_normal(len(CONDITIONS))
    drawn = np.flatnonzero(latent > _FAINT).tolist()
    lonely = not set(drawn) - {DEVICES, *AUXILIARY}
    stay = rng.random(len(CONDITIONS)) < _ALONE
    drawn = [condition for condition in drawn if not (lonely and condition in AUXILIARY and not stay[condition])]
    occupied: set[tuple[str, str]] = set()
    signs: list[Sign] = []
    # What has no choice of place comes first, so that the others can avoid it.
    for condition in sorted(drawn, key=lambda sign: (sign not in (EFFUSION, PNEUMOTHORAX, PLEURA), sign)):
        clear = bool(latent[condition] > _CLEAR[condition])
        if condition == DEVICES:
            signs += _plan_devices(signs, rng)
            continue
        low, high = SEVERITIES[rng.choice(3, p=_SEVERITY_ODDS)] if clear else (0.0, 0.0)
        side, zone, kind = _place(condition, drawn, occupied, rng)
        state = POSITIVE if clear else UNCERTAIN
        signs.append(Sign(condition, state, side, zone, float(rng.uniform(low, high)), kind))
    return tuple(sorted(signs, key=lambda sign: sign.condition))


def _place(
    condition: int, drawn: Sequence[int], occupied: set[tuple[str, str]], rng: np.random.Generator
) -> tuple[str, str, str]:
    """Side, zone and kind of a sign; parenchymal signs avoid one another's places."""
    side = SIDES[int(rng.integers(2))]
    either = "bilateral" if rng.random() < 0.3 else side
    chance = rng.random()
    if condition in (OPACITY, LESION, CONSOLIDATION, PNEUMONIA):
        return (*_free_cell(occupied, rng), "")
    if condition == PNEUMOTHORAX:
        occupied.add((side, "upper"))
    if condition == EFFUSION:
        occupied.update((place, "lower") for place in (SIDES if either == "bilateral" else (either,)))
    low = 0.95 if ATELECTASIS in drawn else 0.5  # airless lung goes with a shallow breath
    places = {
        EDEMA: ("bilateral", "", ""),
        ATELECTASIS: (either, "lower", ""),
        PNEUMOTHORAX: (side, "upper", ""),
        EFFUSION: (either, "", ""),
        PLEURA: (either, "upper", "thickening") if chance < 0.7 else (side, "lower", "plaque"),
        FRACTURE: (side, "upper" if chance < 0.25 else "mid" if chance < 0.75 else "lower", ""),
        AORTA: ("", "", "tortuous" if chance < 0.6 else "calcified"),
        SPINE: (side, "", "scoliosis") if chance < 0.5 else ("", "", "degenerative"),
        DIAPHRAGM: (side, "", "elevated" if chance < 0.75 else "flattened"),
        VOLUME: ("", "", "low" if chance < low else "hyperinflated"),
    }
    return places.get(condition, ("", "", ""))


def _free_cell(occupied: set[tuple[str, str]], rng: np.random.Generator) -> tuple[str, str]:
    """A side and zone that nothing else takes, the lower zones first; any when all are taken."""
    cells = [(side, zone) for side in SIDES for zone in ZONES]
    free = [cell for cell in cells if cell not in occupied] or cells
    odds = np.array([{"upper": 0.25, "mid": 0.3, "lower": 0.45}[zone] for _, zone in free])
    cell = free[int(rng.choice(len(free), p=odds / odds.sum()))]
    occupied.add(cell)
    return cell


def _plan_devices(signs: Sequence[Sign], rng: np.random.Generator) -> list[Sign]:
    """One to three devices that suit the other signs."""
    by_condition = {sign.condition: sign for sign in signs}
    failing = HEART in by_condition or EDEMA in by_condition
    odds = {
        "endotracheal tube": 0.22,
        "nasogastric tube": 0.16,
        "central line": 0.26,
        "pacemaker": 0.3 if failing else 0.14,
        "sternotomy wires": 0.26 if failing else 0.14,
        "surgical clips": 0.08,
    }
    kinds = list(odds)
    shares = np.array(list(odds.values())) / sum(odds.values())
    count = 1 + int(rng.choice(3, p=(0.6, 0.28, 0.12)))
    chosen = [kinds[i] for i in rng.choice(len(kinds), size=count, replace=False, p=shares)]
    sides = {"central line": SIDES[int(rng.random() < 0.25)], "pacemaker": SIDES[int(rng.random() < 0.85)]}
    sides["surgical clips"] = SIDES[int(rng.integers(2))]
    devices = [Sign(DEVICES, POSITIVE, sides.get(kind, ""), kind=kind) for kind in chosen]
    collapse = by_condition.get(PNEUMOTHORAX)
    if collapse is not None and collapse.state == POSITIVE and rng.random() < 0.7:
        devices = [*devices[:2], Sign(DEVICES, POSITIVE, collapse.side, kind="chest tube")]
    return devices
