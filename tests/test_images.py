"""modules/corpus/images.py: which pixels of a file the network sees."""

import copy

import numpy as np
import pytest
import torch
from PIL import Image

from models.config import IMAGENET_MEAN, IMAGENET_STD
from modules.corpus import images
from modules.corpus.images import crop_image, normalise_pixels, read_image, read_resized
from modules.corpus.pixels import open_image


def ramp(width, height):
    """An image whose pixels say in which column they stand."""
    return Image.fromarray(np.tile(np.arange(width, dtype=np.uint8), (height, 1)))


def test_an_image_of_the_published_size_is_cropped_at_its_centre_untouched():
    pixels = crop_image(ramp(256, 256), 224)
    assert pixels.shape == (3, 224, 224)
    assert pixels[0, 0].tolist() == list(range(16, 240))
    assert torch.equal(pixels[0], pixels[2])


@pytest.mark.parametrize("size", [(512, 300), (300, 512), (40, 40)])
def test_the_shorter_side_is_resized_and_the_middle_is_kept(size, tmp_path):
    image = Image.fromarray(np.zeros(size[::-1], np.uint8))
    image.paste(255, (size[0] // 2 - 4, 0, size[0] // 2 + 4, size[1]))  # a bar through the middle
    image.save(tmp_path / "x.png")
    pixels = read_image(tmp_path / "x.png", 56)[0].float()
    assert pixels.shape == (56, 56)
    columns = pixels.mean(dim=0)
    assert columns.max() > 200
    assert (columns @ torch.arange(56.0) / columns.sum()).item() == pytest.approx(27.5, abs=0.6)


def test_training_draws_crop_and_angle_from_its_generator_alone():
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (300, 260), dtype=np.uint8))
    one, again, other = (crop_image(image, 64, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert not torch.equal(one, crop_image(image, 64))


def test_training_crops_lie_anywhere_and_turn_by_up_to_five_degrees():
    """As published: any of 33 places along a side."""
    image = ramp(256, 256)
    found = torch.stack([crop_image(image, 224, np.random.default_rng(seed))[0] for seed in range(200)]).float()
    left = (found[:, 111:113, 111:113].mean(dim=(1, 2)) - 111.5).round()
    assert (left.min(), left.max()) == (0, 32)
    lean = (found[:, 152:172, 112].mean(dim=1) - found[:, 52:72, 112].mean(dim=1)) / 100
    assert lean.abs().max().asin().rad2deg().item() == pytest.approx(5, abs=0.2)
    assert lean.min() < -0.08 < 0.08 < lean.max()


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_training_crops_move_down_as_well_and_turn_without_steps(seed):
    """Pixel by pixel the crop that PIL turns, each new pixel a mean of four."""
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (256, 256), dtype=np.uint8))
    found = crop_image(image, 224, np.random.default_rng(seed))[0]
    rng = np.random.default_rng(seed)
    left, top = int(rng.integers(33)), int(rng.integers(33))
    crop = image.crop((left, top, left + 224, top + 224))
    np.testing.assert_array_equal(found, crop.rotate(rng.uniform(-5, 5), Image.Resampling.BILINEAR))


def test_squeezing_keeps_the_whole_image(tmp_path):
    image = Image.fromarray(np.zeros((100, 400), np.uint8))
    image.paste(200, (380, 0, 400, 100))  # what a centre crop would lose
    image.save(tmp_path / "x.png")
    pixels = read_resized(tmp_path / "x.png", 40)
    assert pixels.shape == (3, 40, 40)
    assert (pixels[0, :, 39] == 200).all()
    assert not pixels[0, :, :36].any()


def test_colours_stay_in_their_channels():
    pixels = crop_image(Image.new("RGB", (64, 64), (10, 20, 30)), 56)
    assert [channel.unique().tolist() for channel in pixels] == [[10], [20], [30]]


def test_normalised_pixels_are_those_of_imagenet():
    pixels = torch.tensor([0, 51, 255], dtype=torch.uint8).view(1, 1, 1, 3).expand(2, 3, 1, 3)
    found = normalise_pixels(pixels)
    for channel, (mean, std) in enumerate(zip(IMAGENET_MEAN, IMAGENET_STD, strict=True)):
        expected = torch.tensor([(value - mean) / std for value in (0, 0.2, 1)])
        torch.testing.assert_close(found[1, channel, 0], expected, rtol=1e-6, atol=1e-6)


def test_images_of_a_small_set_are_decoded_once_and_those_beyond_the_room_each_time(tmp_path, monkeypatch):
    decoded = []

    def remembered(path):
        decoded.append(path.name)
        return open_image(path)

    monkeypatch.setattr(images, "open_image", remembered)
    for name in "ac":
        ramp(40, 30).save(tmp_path / f"{name}.png")
    Image.fromarray(np.arange(3600, dtype=np.uint8).reshape(30, 40, 3)).save(tmp_path / "b.png")
    kept = images.KeptImages(room=40 * 30 * 2)
    for _ in range(2):
        for name in "abc":
            path = tmp_path / f"{name}.png"
            rng = [np.random.default_rng(1) for _ in range(2)]
            assert torch.equal(crop_image(kept.open(path), 24, rng[0]), read_image(path, 24, rng[1]))
    assert decoded.count("a.png") == 1 + 2  # once by the set, and by read_image
    assert decoded.count("b.png") == 2 + 2  # three channels find no room
    assert decoded.count("c.png") == 1 + 2
    assert kept.room == 0
    assert copy.copy(kept).images == {}  # made as for another process


def test_a_data_loading_process_keeps_no_images(tmp_path):
    Image.new("L", (40, 30)).save(tmp_path / "a.png")

    class Counts(torch.utils.data.Dataset):
        kept = images.KeptImages()

        def __len__(self):
            return 2

        def __getitem__(self, index):
            self.kept.open(tmp_path / "a.png")
            return len(self.kept.images)

    loader = torch.utils.data.DataLoader(Counts(), num_workers=1, multiprocessing_context="fork")
    assert [int(count) for count in loader] == [0, 0]
