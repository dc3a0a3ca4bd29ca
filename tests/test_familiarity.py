"""modules/preparation/features/familiarity.py: drawings are like drawings; noise, text and a film upside down are not."""

import numpy as np
import pytest
from PIL import Image, ImageOps

from modules.messages import UserError
from modules.prediction import Reporter
from modules.preparation.features.familiarity import Familiarity, Stage
from modules.weights.safe_files import load_tensors, save_tensors


def images_like(rng, count, mean=0.0):
    """Two stages of 30 and 40 numbers that vary in five directions, and a little in all."""
    hidden = rng.normal(size=(count, 5))
    fixed = np.random.default_rng(9)
    mix = [fixed.normal(size=(5, width)) for width in (30, 40)]
    return [hidden @ part + mean + 0.1 * rng.normal(size=(count, part.shape[1])) for part in mix]


def test_one_image_in_a_hundred_is_called_unlike():
    rng = np.random.default_rng(0)
    familiar = Familiarity.of(images_like(rng, 1000))
    assert (familiar.strangeness(images_like(rng, 5000)) > 1).mean() == pytest.approx(0.01, abs=0.006)
    assert (familiar.strangeness(images_like(rng, 100, mean=1.0)) > 1).all()


def test_a_change_at_one_stage_is_enough():
    rng = np.random.default_rng(0)
    familiar = Familiarity.of(images_like(rng, 1000))
    early, late = images_like(rng, 50)
    for seen in ([early + 1, late], [early, late + 1]):
        assert (familiar.strangeness(seen) > 1).all()


def test_distances_are_those_of_mahalanobis_where_all_directions_are_free():
    rng = np.random.default_rng(0)
    seen = rng.normal(size=(400, 8)) * [3, 1, 1, 1, 1, 1, 1, 1]
    stage = Stage.of(seen)
    assert stage.directions.shape == (8, 2)
    away = np.zeros((1, 8)) + stage.mean
    away[0, 0] += 3
    assert stage.distances(away)[0] == pytest.approx(1, rel=0.15)  # a deviation, not three


def test_it_is_kept_whole(tmp_path):
    rng = np.random.default_rng(0)
    familiar = Familiarity.of(images_like(rng, 100))
    familiar.save(tmp_path / "f.safetensors", "scorer")
    read = Familiarity.load(tmp_path / "f.safetensors")
    seen = images_like(rng, 20)
    np.testing.assert_allclose(read.strangeness(seen), familiar.strangeness(seen), rtol=1e-4)
    assert Familiarity.load(tmp_path / "none.safetensors") is None


def test_a_file_that_lacks_a_part_is_refused(tmp_path):
    path = tmp_path / "f.safetensors"
    Familiarity.of(images_like(np.random.default_rng(0), 100)).save(path, "scorer")
    tensors = load_tensors(path)
    for name in ("limits", "0.mean", "1.directions", "1.variances"):
        save_tensors(path, {key: value for key, value in tensors.items() if key != name})
        with pytest.raises(UserError, match=rf"lacks {name}: copy it again"):
            Familiarity.load(path)
        if name != "limits":
            save_tensors(path, tensors | {name: tensors[name][:-1].clone()})
            with pytest.raises(UserError, match=rf"shapes of stage {name[0]} that do not belong together"):
                Familiarity.load(path)


def test_films_are_told_from_noise_and_text(prepared, trained, tmp_path):
    films = sorted((prepared / "images" / "test").iterdir())
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (80, 80), dtype=np.uint8)).save(tmp_path / "noise.png")
    page = np.full((80, 80), 255, dtype=np.uint8)
    page[::6, rng.integers(0, 80, 60)] = 0
    Image.fromarray(page).save(tmp_path / "page.png")
    ImageOps.invert(Image.open(films[0]).convert("L")).save(tmp_path / "inverted.png")
    rows = Reporter.load(trained).report([*films, *sorted(tmp_path.iterdir())])
    said = [row["unlike_training"] for row in rows]
    assert sum(said[:-3]) <= 1
    assert said[-3:] == [True, True, True]
