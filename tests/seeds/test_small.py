import json
from pathlib import Path

from tests.seeds.clients import bash
from tests.service import Running

THEIRS = "http://127.0.0.1:5000"


def test_curl(older: Running, folder: Path) -> None:
    said = bash(f'curl -X POST -F "video=@video.mp4" {THEIRS}/detect_deepfake'.replace(THEIRS, older.url), folder)
    assert json.loads(said) == {"is_deepfake": True}


def test_curl_without_a_video(older: Running, folder: Path) -> None:
    said = bash(f'curl -X POST -F "note=x" {THEIRS}/detect_deepfake'.replace(THEIRS, older.url), folder)
    assert json.loads(said) == {"error": "No video file provided"}
