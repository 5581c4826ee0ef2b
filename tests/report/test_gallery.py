"""The pictures, films and sounds of a page: whole inside it or said to be left out, and never markup."""

import base64
import json
import re
from pathlib import Path

import pytest
import torch
from PIL import Image

from mmssl.report import page, write_report
from mmssl.report.films import save_gif, save_mp4
from mmssl.report.gallery import EMPTY, MOMENTS, gallery
from mmssl.report.pictures import save_png, save_wav
from tests.report.run_folders import Elements, bare_folder, outside_references

PLENTY = 15_000_000
LOSSES = [{"step": step, "samples_seen": step, "loss": 1.0 / step} for step in (1, 2, 3)]


def noise(seed: int, width: int = 40, height: int = 20) -> Image.Image:
    """A picture that does not get smaller by compression."""
    generator = torch.Generator().manual_seed(seed)
    return Image.fromarray(torch.randint(256, (height, width, 3), generator=generator, dtype=torch.uint8).numpy())


def sine() -> torch.Tensor:
    return (torch.arange(800) * 0.1).sin() / 2


def media_run(folder: Path, samples: int = 3) -> Path:
    """A run with sheets of pictures, films twice, and sheets with two sounds each."""
    bare_folder(folder, evaluation={"energy.auroc": 0.9})
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in LOSSES))
    for number in range(1, samples + 1):
        save_png(noise(number), folder / f"pictures/image-sample-{number}.png")
        save_png(noise(number + 50), folder / f"pictures/audio-sample-{number}.png")
        for name in ("predicted", "truth"):
            save_wav(sine(), folder / f"pictures/audio-sample-{number}-{name}.wav", 8000)
        frames = [noise(number * 100 + time) for time in range(6)]
        save_gif(frames, folder / f"pictures/video-sample-{number}.gif", 5)
        save_mp4(frames, folder / f"pictures/video-sample-{number}.mp4", 5)
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    return media_run(tmp_path_factory.mktemp("runs") / "media")


@pytest.fixture(scope="module")
def html(run: Path) -> str:
    return write_report([run]).read_text(encoding="utf-8")


def inlined(html: str, kind: str = "") -> list[bytes]:
    """The contents of the files that a page holds."""
    found = re.findall(rf'src="data:{kind or "[a-z]+/[a-z0-9]+"};base64,([^"]*)"', html)
    return [base64.b64decode(content, validate=True) for content in found]


def test_every_picture_and_sound_is_inside_the_page_byte_for_byte(run: Path, html: str):
    held = inlined(html)
    for path in (run / "pictures").iterdir():
        assert (path.read_bytes() in held) == (path.suffix != ".mp4"), path.name
    assert outside_references(html) == []
    assert "http://" not in html
    assert "https://" not in html
    assert "media-src data:" in html


def test_film_is_shown_only_where_no_gif_has_its_name(run: Path, html: str, tmp_path: Path):
    assert "<video" not in html
    folder = media_run(tmp_path / "films", samples=1)
    (folder / "pictures/video-sample-1.gif").unlink()
    html = write_report([folder]).read_text()
    assert html.count("<video controls") == 1
    assert inlined(html, "video/mp4") == [(folder / "pictures/video-sample-1.mp4").read_bytes()]


def test_sound_is_a_player_beside_its_own_picture(html: str):
    figures = re.findall(r'<figure class="exhibit.*?</figure>', html, flags=re.DOTALL)
    sounding = [one for one in figures if "<audio controls" in one]
    assert len(figures) == 9
    assert [re.findall(r"<b>(.*?)</b>", one)[0] for one in sounding] == [f"Audio, sample {n}" for n in (1, 2, 3)]
    assert all(re.findall(r"<label>(\w+) <audio", one) == ["predicted", "truth"] for one in sounding)
    assert all("<img" in one for one in sounding)


def test_sound_belongs_to_the_picture_whose_whole_name_begins_its_own(tmp_path: Path):
    for number in (1, 11):
        save_png(noise(number), tmp_path / f"audio-{number}.png")
        save_wav(sine(), tmp_path / f"audio-{number}-truth.wav", 8000)
    save_wav(sine(), tmp_path / "audio-2-truth.wav", 8000)
    found = gallery(tmp_path, PLENTY).exhibits
    assert [(one.name, [item.kind for item in one.items]) for one in found] == [
        ("audio-1", ["picture", "sound"]),
        ("audio-2-truth", ["sound"]),
        ("audio-11", ["picture", "sound"]),
    ]


def test_every_picture_has_a_size_and_says_what_it_shows(html: str):
    images = re.findall(r"<img[^>]*>", html)
    assert len(images) == 12  # and a still of each of three films
    for image in images:
        assert re.search(r'alt="(Image|Audio|Video), sample \d: [^"]{20,}"', image), image
        assert 'width="' in image


def test_small_pictures_are_enlarged_by_whole_numbers_and_stay_sharp(tmp_path: Path):
    save_png(noise(0, 40, 20), tmp_path / "small.png")
    save_png(noise(0, 300, 20), tmp_path / "large.png")
    large, small = (one.items[0] for one in gallery(tmp_path, PLENTY).exhibits)
    assert (small.width, small.height, small.is_small) == (280, 140, True)
    assert (large.width, large.height, large.is_small) == (300, 20, False)


def test_paper_shows_moments_of_what_moves(tmp_path: Path):
    frames = [noise(time, 30, 10) for time in range(7)]
    save_gif(frames, tmp_path / "video-1.gif", 5)
    save_png(frames[0], tmp_path / "image-1.png")
    still, moving = (one.items[0] for one in gallery(tmp_path, PLENTY).exhibits)
    (tmp_path / "still.png").write_bytes(base64.b64decode(moving.still.partition(",")[2]))
    assert still.still == ""
    with Image.open(tmp_path / "still.png") as image:
        assert image.size == (30, 10 * MOMENTS)


def test_page_without_pictures_has_no_such_section(tmp_path: Path):
    folder = bare_folder(tmp_path / "words")
    (folder / "pictures").mkdir()
    assert "What it predicts" not in write_report([folder]).read_text()
    (folder / "pictures").rmdir()
    assert "What it predicts" not in write_report([folder]).read_text()
    assert gallery(folder / "pictures", PLENTY) == EMPTY


@pytest.mark.parametrize("kilobytes", [80, 120, 160, 200])
def test_page_stays_below_its_bound_with_whole_files_and_says_how_many_are_left_out(
    run: Path, tmp_path: Path, monkeypatch, kilobytes: int
):
    monkeypatch.setattr(page, "MAX_PAGE_BYTES", kilobytes * 1000)
    html = write_report([run], tmp_path / "small.html").read_text()
    assert len(html.encode()) < kilobytes * 1000
    whole = {path.read_bytes() for path in (run / "pictures").iterdir()}
    without_stills = re.sub(r'<img class="still"[^>]*>', "", html)
    assert set(inlined(without_stills)) <= whole
    shown = html.count('<figure class="exhibit')
    assert 0 <= shown < 9
    assert f"{9 - shown} of 9 samples {'is' if shown == 8 else 'are'} left out, so that this page stays below" in html


def test_all_modalities_are_left_out_alike(tmp_path: Path):
    run = media_run(tmp_path / "run")
    sizes = {one.name: one.num_bytes for one in gallery(run / "pictures", PLENTY).exhibits}
    first = sum(size for name, size in sizes.items() if name.endswith("-1"))
    found = gallery(run / "pictures", first)
    assert sorted(one.name for one in found.exhibits) == ["audio-sample-1", "image-sample-1", "video-sample-1"]
    assert found.num_left_out == 6


def test_several_runs_share_the_room_and_show_one_picture_each(run: Path, tmp_path: Path, monkeypatch):
    other = media_run(tmp_path / "other", samples=2)
    (other / "pictures/image-sample-1.png").unlink()
    silent = bare_folder(tmp_path / "silent")
    html = write_report([run, other, silent], tmp_path / "all.html").read_text()
    section = re.findall(r"<h2>What they predict</h2>.*?</section>", html, flags=re.DOTALL)[0]
    assert re.findall(r"<figcaption><b>(.*?)</b> <span>(.*?)</span>", section) == [
        ("1 media", "Image, sample 2"),  # the first that both have
        ("2 other", "Image, sample 2"),
        ("3 silent", "no pictures"),
    ]
    assert section.count("<img") == 2
    assert outside_references(html) == []
    monkeypatch.setattr(page, "MAX_PAGE_BYTES", 400_000)
    assert len(write_report([run, other, silent], tmp_path / "all.html").read_bytes()) < 400_000


def test_names_of_files_never_become_markup(tmp_path: Path):
    attack = "image-<script>alert(1)<img src=x onerror=alert(1)>\"'&--> 猫"
    run = bare_folder(tmp_path / "run")
    save_png(noise(0), run / f"pictures/{attack}.png")
    save_wav(sine(), run / f"pictures/{attack}-<b onload=1>.wav", 8000)
    (run / f"pictures/broken {attack}.gif").write_bytes(b"<script>alert(2)</script>")
    (run / "pictures" / b"caf\xe9.png".decode(errors="surrogateescape")).write_bytes(b"no picture")
    for runs in ([run], [run, run]):
        html = write_report(runs).read_text(encoding="utf-8")
        elements = Elements(html)
        assert "<script" not in html
        assert not [name for name, _ in elements.attributes if name.startswith("on")]
        assert outside_references(html) == []
        assert "&lt;script&gt;alert(1)" in html
        assert elements.tags.count("img") == (1 if len(runs) == 1 else 4)


def broken_files(folder: Path) -> dict[str, str]:
    """Files that no browser can show, by the reason that is said."""
    folder.mkdir(parents=True)
    save_gif([noise(time) for time in range(4)], folder / "whole.gif", 5)
    whole = (folder / "whole.gif").read_bytes()
    save_png(noise(1, 200, 200), folder / "whole.png")
    (folder / "cut.gif").write_bytes(whole[: len(whole) // 2])
    (folder / "cut.png").write_bytes((folder / "whole.png").read_bytes()[:3000])
    (folder / "empty.png").write_bytes(b"")
    (folder / "markup.png").write_bytes(b"<svg xmlns='http://www.w3.org/2000/svg'><script>1</script></svg>")
    (folder / "noise.mp4").write_bytes(b"\x00" * 999)
    (folder / "noise.wav").write_bytes(b"RIFF" + b"\x00" * 99)
    (folder / "folder.png").mkdir()
    (folder / "link.gif").symlink_to(folder / "missing.gif")
    return {
        "cut.gif": "whole", "cut.png": "whole", "empty.png": "whole", "markup.png": "whole",
        "noise.mp4": "Invalid data", "noise.wav": "whole", "folder.png": "not a file", "link.gif": "not a file",
    }  # fmt: skip


@pytest.mark.parametrize("name", ["cut.gif", "cut.png", "empty.png", "markup.png", "noise.mp4", "noise.wav",
                                  "folder.png", "link.gif"])  # fmt: skip
def test_broken_file_is_said_by_name_and_the_others_are_shown(tmp_path: Path, name: str):
    run = bare_folder(tmp_path / "run")
    expected = broken_files(run / "pictures")[name]
    for other in set(broken_files(tmp_path / "again")) - {name}:
        path = run / "pictures" / other
        path.rmdir() if path.is_dir() else path.unlink()
    found = gallery(run / "pictures", PLENTY)
    assert [one.name for one in found.exhibits] == ["whole"]
    assert len(found.notes) == 1
    assert found.notes[0].startswith(f"pictures/{name}: ")
    assert expected in found.notes[0]
    html = write_report([run]).read_text()
    assert f"pictures/{name}: " in Elements(html).text
    assert "<script" not in html


def test_many_broken_files_are_counted(tmp_path: Path):
    broken_files(tmp_path / "pictures")
    notes = gallery(tmp_path / "pictures", PLENTY).notes
    assert len(notes) == 4
    assert notes[-1] == "5 more of pictures cannot be shown; left out."


def test_picture_of_too_many_pixels_is_said(tmp_path: Path):
    Image.new("1", (9000, 9000)).save(tmp_path / "image-1.png")
    expected = f"{tmp_path.name}/image-1.png: 9000 x 9000 pixels are too many; left out."
    assert gallery(tmp_path, PLENTY).notes == [expected]


def test_page_with_pictures_is_the_same_bytes_for_the_same_run(run: Path, html: str, tmp_path: Path):
    assert write_report([run], tmp_path / "again.html").read_text(encoding="utf-8") == html


def test_what_a_file_says_of_itself_stands_below_its_title_as_text(tmp_path: Path):
    run = bare_folder(tmp_path / "run")
    save_png(noise(0), run / "pictures/neighbours-image.png", 'Made by <script>alert(1)</script> "quotes" 猫 \ud800')
    save_png(noise(1), run / "pictures/image-sample-1.png")
    html = write_report([run]).read_text(encoding="utf-8")
    assert "<script" not in html
    assert html.count('class="about"') == 1
    assert "Made by &lt;script&gt;alert(1)&lt;/script&gt; &#34;quotes&#34; 猫 ?</span>" in html
    assert re.search('alt="Nearest neighbours, image: Made by &lt;script', html)


def test_a_long_caption_is_cut_off_and_counts_as_bytes_of_the_page(tmp_path: Path):
    save_png(noise(0), tmp_path / "map-image.png", "a" * 10_000)
    (found,) = gallery(tmp_path, PLENTY).exhibits
    save_png(noise(0), tmp_path / "map-image.png")
    (plain,) = gallery(tmp_path, PLENTY).exhibits
    assert len(found.caption) == 1000
    assert found.num_bytes > plain.num_bytes + 10 * len(found.caption)


def test_predictions_neighbours_and_views_have_sections_of_their_own(tmp_path: Path):
    run = bare_folder(tmp_path / "run")
    for number, name in enumerate(("views-image", "map-image", "neighbours-image", "image-sample-1", "sketch")):
        save_png(noise(number), run / f"pictures/{name}.png")
    found = gallery(run / "pictures", PLENTY)
    assert [(title, [kind for kind, _ in kinds]) for title, kinds in found.sections] == [
        ("What it predicts", ["image", ""]),
        ("What it finds alike", ["neighbours", "map"]),
        ("What it is shown in training", ["views"]),
    ]
    html = write_report([run]).read_text()
    titles = ["Image, sample 1", "sketch", "Nearest neighbours, image", "Map of embeddings, image", "Views, image"]
    assert re.findall(r'<figure class="exhibit.*?<b>(.*?)</b>', html, flags=re.DOTALL) == titles
    other = bare_folder(tmp_path / "other")
    save_png(noise(9), other / "pictures/neighbours-image.png")
    both = write_report([run, other], tmp_path / "both.html").read_text()
    assert "What they find alike" in both.partition("<h2>Each run</h2>")[0]
    assert "Views, image" not in both.partition("<h2>Each run</h2>")[0]
