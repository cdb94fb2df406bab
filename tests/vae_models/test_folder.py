"""A directory of images, some of them broken."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vae_models.data import DataConfig, DataSet, load_data
from vae_models.errors import DataError, VaeModelsWarning
from vae_models.folder import fit_image

FORMATS = ("png", "jpg", "JPEG", "bmp", "gif", "webp", "tiff")


def _picture(value: int, size: tuple[int, int] = (20, 30)) -> Image.Image:
    return Image.new("RGB", size, (value, value // 2, 0))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for index, extension in enumerate(FORMATS):
        (tmp_path / f"deep/{index % 3}").mkdir(parents=True, exist_ok=True)
        _picture(30 * index + 20).save(tmp_path / f"deep/{index % 3}/{index}.{extension}")
    (tmp_path / "notes.txt").write_text("no image, and no mention of it")
    return tmp_path


def _load(root: Path, **settings: object) -> DataSet:
    return load_data(DataConfig(name="folder", root=str(root), image_size=8, **settings))  # type: ignore[arg-type]


def test_images_of_every_format_at_any_depth_are_read(folder: Path) -> None:
    data = _load(folder)
    assert len(data.train) + len(data.heldout) == len(FORMATS)
    assert data.image_shape == (1, 8, 8)
    assert data.skipped == ()
    assert data.peak == 1.0
    assert data.heldout_images().max() <= 1


def test_colour_images_have_three_channels_in_the_order_red_green_blue(folder: Path) -> None:
    data = _load(folder, colour=True)
    assert data.image_shape == (3, 8, 8)
    red, green, blue = data.train.float().mean(dim=(0, 2, 3))
    assert red.item() == pytest.approx(2 * green.item(), rel=0.05)
    assert blue < 5


def test_unreadable_files_are_named_in_a_warning_and_kept_as_skipped(folder: Path) -> None:
    (folder / "deep/broken.png").write_bytes(b"\x89PNG\r\n\x1a\n but nothing more")
    (folder / "empty.jpg").write_bytes(b"")
    whole = (folder / "deep/1/1.jpg").read_bytes()
    (folder / "torn.jpg").write_bytes(whole[: len(whole) // 2])
    with pytest.warns(VaeModelsWarning, match=r"3 of 10 image files .* deep/broken\.png \(.*torn"):
        data = _load(folder)
    assert data.skipped == ("deep/broken.png", "empty.jpg", "torn.jpg")
    assert len(data.train) + len(data.heldout) == len(FORMATS)
    assert data.checksum == _without_broken(folder).checksum


def _without_broken(folder: Path) -> DataSet:
    for name in ("deep/broken.png", "empty.jpg", "torn.jpg"):
        (folder / name).unlink()
    return _load(folder)


def test_many_unreadable_files_are_counted_not_listed(folder: Path) -> None:
    for index in range(9):
        (folder / f"bad{index}.png").write_bytes(b"x")
    with pytest.warns(VaeModelsWarning, match=r"bad0\.png .*bad4\.png .* and 4 more\.$"):
        data = _load(folder)
    assert len(data.skipped) == 9


def test_order_and_split_depend_on_the_names_and_the_seed_only(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    copy = tmp_path_factory.mktemp("copy")
    for path in sorted(folder.rglob("*.*"), reverse=True):  # made in another order
        if path.is_file():
            target = copy / path.relative_to(folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    assert _load(copy).checksum == _load(folder).checksum
    assert len({_load(folder, seed=seed).checksum for seed in range(4)}) > 1


def test_the_short_side_is_resized_and_the_centre_cropped() -> None:
    """Thirds of red, green and blue: only green is left of a three times wider image."""
    stripes = np.zeros((20, 60, 3), np.uint8)
    for channel in range(3):
        stripes[:, 20 * channel : 20 * channel + 20, channel] = 255
    for image in (Image.fromarray(stripes), Image.fromarray(stripes.transpose(1, 0, 2))):
        fitted = fit_image(image, 10, colour=True)
        assert fitted.shape == (3, 10, 10)
        inner = fitted[:, 2:-2, 2:-2]
        assert inner[1].min() > 250
        assert inner[0].max() < 5


def test_small_images_are_enlarged() -> None:
    assert fit_image(_picture(100, (3, 2)), 16, colour=False).shape == (1, 16, 16)


def test_the_camera_s_orientation_is_applied(tmp_path: Path) -> None:
    image = Image.fromarray(np.repeat([[0], [255]], 16, axis=1).repeat(8, axis=0).astype(np.uint8))
    exif = image.getexif()
    exif[0x0112] = 3  # taken upside down
    image.save(tmp_path / "turned.png", exif=exif)
    with Image.open(tmp_path / "turned.png") as turned:
        fitted = fit_image(turned, 16, colour=False)[0]
    assert fitted[0].min() > 250
    assert fitted[-1].max() < 5


def test_sixteen_bit_grey_keeps_its_range() -> None:
    ramp = np.linspace(0, 65535, 32 * 32).astype(np.uint16).reshape(32, 32)
    fitted = fit_image(Image.fromarray(ramp), 32, colour=False)
    assert np.array_equal(fitted[0], ramp >> 8)


@pytest.mark.parametrize("colour", [True, False])
def test_transparency_falls_on_black(*, colour: bool) -> None:
    clear = Image.new("RGBA", (4, 4), (255, 255, 255, 0))
    assert not fit_image(clear, 4, colour=colour).any()


def test_a_missing_folder_says_where_it_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"`root` must be a directory .* got nothing at '.*/none'"):
        _load(tmp_path / "none")


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"must be a directory of images .* but got a file at"):
        _load(tmp_path / "file")


def test_an_empty_folder_says_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"`readable images >= 2` must hold .* 0 of 0 image files\. .*\.png"
    ):
        _load(tmp_path)


def test_one_readable_image_is_too_few_and_the_broken_one_is_named(tmp_path: Path) -> None:
    _picture(50).save(tmp_path / "good.png")
    (tmp_path / "bad.png").write_bytes(b"x")
    with pytest.raises(DataError, match=r"got 1 of 2 image files: bad\.png \(cannot identify"):
        _load(tmp_path)
