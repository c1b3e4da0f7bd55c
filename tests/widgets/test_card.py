"""The picture of a card: small, and left out where it cannot be made."""

import base64
import builtins
import io
from pathlib import Path
from typing import Any

import pytest

import vidnb
from vidnb.widgets.card import MAX_URL_CHARS, card_picture, player_card

Image = pytest.importorskip("PIL.Image")


def noise(path: Path, wide: int, high: int, kind: str = "PNG") -> Path:
    picture = Image.effect_noise((wide, high), 90).convert("RGB")
    picture.save(path, kind)
    return path


def test_a_small_image_is_a_data_url_of_the_file(tmp_path: Path) -> None:
    path = noise(tmp_path / "poster.png", 20, 20)
    url = card_picture(path)
    assert url is not None
    head, _, data = url.partition(",")
    assert head == "data:image/png;base64"
    assert base64.b64decode(data) == path.read_bytes()
    assert card_picture(str(path)) == url


@pytest.mark.parametrize("size", [(1920, 1080), (1080, 1920), (4000, 100)])
def test_a_large_image_becomes_a_thumbnail(tmp_path: Path, size: tuple[int, int]) -> None:
    """Noise compresses worst."""
    url = card_picture(noise(tmp_path / "poster.png", *size))
    assert url is not None
    assert len(url) < MAX_URL_CHARS
    data = io.BytesIO(base64.b64decode(url.removeprefix("data:image/jpeg;base64,")))
    with Image.open(data) as small:
        assert small.width / small.height == pytest.approx(size[0] / size[1], rel=0.15)
        assert max(small.size) >= 96


def test_a_short_url_is_used_and_a_long_one_is_not() -> None:
    assert card_picture("https://example.org/p.jpg") == "https://example.org/p.jpg"
    assert card_picture("data:image/png;base64," + "A" * MAX_URL_CHARS) is None


def test_an_invalid_image_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert card_picture(None) is None
    assert card_picture(tmp_path / "missing.png") is None
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(10_000))
    assert card_picture(broken) is None
    large = noise(tmp_path / "large.png", 300, 300)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10_000)
    assert card_picture(large) is None, "a decompression bomb"
    monkeypatch.undo()
    real_import = builtins.__import__

    def without_pillow(name: str, *rest: Any) -> Any:
        if name == "PIL":
            raise ImportError(name)
        return real_import(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without_pillow)
    assert card_picture(large) is None


def test_the_card_shows_the_poster(tmp_path: Path) -> None:
    player = vidnb.play(vidnb.sample(), poster=noise(tmp_path / "a.png", 20, 20))
    data, _ = player._repr_mimebundle_()
    player.close()
    assert '<img src="data:image/png;base64,' in data["text/html"]
    assert "127.0.0.1" not in data["text/html"], "a URL does not work in a saved notebook"


def test_a_url_is_escaped_in_the_card() -> None:
    card = player_card(
        "a.mp4", length_s=None, size_bytes=None, card_id="m", picture='https://h/"><script>'
    )
    assert "<script>" not in card["text/html"]
    assert "<style>" in card["text/html"]
    assert "<img" not in player_card("a", length_s=None, size_bytes=None, card_id="m")["text/html"]
