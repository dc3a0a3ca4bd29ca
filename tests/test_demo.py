"""modules/prediction/demo.py: the maps that the page shows, and the page itself where Gradio is installed."""

import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from browser import EXECUTABLE, Page
from programs import refused

import main_predict
from modules.evaluation.reports.attention_maps import StudyMaps
from modules.labels import ENTITIES
from modules.prediction.demo import SIDE, Shown, named_maps, overlay

ROOT = Path(__file__).parents[1]


def test_maps_are_named_by_entity_then_by_sentence():
    levels = np.arange(27, dtype=np.uint8).reshape(3, 9)
    maps = named_maps(StudyMaps([8, 24], [0.9, 0.4], [(0, 1)] * 3, levels), "no edema . no effusion .")
    assert list(maps)[:2] == [ENTITIES[8], ENTITIES[24]]
    assert list(maps)[2].startswith("1. no edema")
    np.testing.assert_allclose(maps[ENTITIES[24]] * 255, levels[1].reshape(3, 3))


def test_the_overlay_is_bright_where_the_map_is_high():
    grid = np.zeros((4, 4), dtype=np.float32)
    grid[0, 3] = 1
    shown = Shown({}, np.full((SIDE, SIDE, 3), 100, dtype=np.uint8), {"edema": grid})
    picture = overlay(shown, "edema").mean(axis=2)
    assert np.unravel_index(picture.argmax(), picture.shape) > (0, SIDE // 2)
    assert picture[: SIDE // 4, 3 * SIDE // 4 :].mean() > 1.5 * picture[SIDE // 2 :].mean()
    assert overlay(shown, None) is shown.image


def test_flags_of_the_page_need_it(capsys):
    refused(capsys, "give --serve too", main_predict, "--images", __file__, "--port", 1)


@pytest.mark.slow
@pytest.mark.skipif(EXECUTABLE is None, reason="needs a Chromium")
def test_the_page_writes_a_report_and_keeps_nothing(prepared, trained, tmp_path):
    client = pytest.importorskip("gradio_client")
    film = min((prepared / "images" / "test").iterdir())
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable,
        ROOT / "main_predict.py",
        "--serve",
        "--port",
        port,
        "--model",
        trained,
        "--images",
        film,
    ]
    server = subprocess.Popen(
        list(map(str, [*command, "--device", "cpu"])), cwd=ROOT, env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        address = f"http://127.0.0.1:{port}/"
        for _ in range(300):
            try:
                urllib.request.urlopen(address).read()
                break
            except OSError:
                assert server.poll() is None, server.stdout.read()
                time.sleep(1)
        asked = client.Client(address, verbose=False)
        assert not list(tmp_path.rglob(film.name)), (
            "a copy of an example would be removed like an upload, and be missing"
        )
        answer = asked.predict(0, api_name="/example")
        assert any("Research use only" in str(part) for part in answer)
        answer = asked.predict(client.handle_file(str(film)), api_name="/report")
        assert any("Research use only" in str(part) for part in answer)
        page = Page(tmp_path / "browser")
        try:
            page.send("Page.navigate", url=address)
            page.wait("document.body && document.body.innerText.includes('Retrieved training report')")
            assert "Research use only" in page.run("document.body.innerText")
            page.run("document.querySelector('input[type=radio]').click()")
            page.wait("[...document.querySelectorAll('textarea')].some(box => box.value.includes('Research use only'))")
            page.wait("!!document.querySelector('[aria-label=Download], [title=Download]')")
            broken = tmp_path / "broken.png"
            broken.write_bytes(film.read_bytes()[:300])
            given = "document.querySelector('#film').innerText"
            picked = "document.querySelectorAll('input[type=radio]:checked').length"
            reports = "[...document.querySelectorAll('textarea')].map(box => box.value).join('')"
            page.upload("#film input[type=file]", film)
            page.wait(f"{given}.includes('{film.name[:6]}') && {picked} === 0")
            page.wait(f"{reports}.includes('Research use only')")
            page.run("document.querySelector('input[type=radio]').click()")
            page.wait(f"{given}.includes('Click to Upload') && {picked} === 1")
            page.wait(f"{reports}.includes('Research use only')")
            page.upload("#film input[type=file]", broken)
            page.wait(f"{given}.includes('broken') && {reports} === ''")  # no report below a film that is not its own
            page.wait("document.querySelector('[data-testid=toast-body]')?.innerText.includes('broken')")
            labels = (
                "[...document.querySelectorAll('button')].map(b => `${b.ariaLabel} ${b.title} ${b.innerText}`).join()"
            )
            assert not re.search(r"\bshare|\bapi\b|record|runs|settings", page.run(labels), re.IGNORECASE)
            assert page.run("localStorage.length") == 0, "the browser keeps what was given"
            foreign = (
                "performance.getEntriesByType('resource').map(r => r.name).filter(n => !n.startsWith(location.origin))"
            )
            assert page.run(foreign) == []
            page.size(390, 844, dark=True)
            page.screenshot(tmp_path / "page.png")
        finally:
            page.close()
    finally:
        server.terminate()
        server.wait(30)
        server.stdout.close()
    assert not [path for path in tmp_path.rglob("*.png") if path.name == film.name]
