import json
from pathlib import Path

from tests.seeds.clients import bash
from tests.service import Running

THEIRS = "http://localhost:5000"
DETECT = f'curl -X POST -F "file=@image.jpg" {THEIRS}/api/v1/detect/'
AUGMENTED = f'curl -X POST -F "file=@image.jpg" {THEIRS}/api/v1/detect/augmented'
HEALTH = f"curl {THEIRS}/api/v1/detect/health"


def test_curl_detection(older: Running, folder: Path) -> None:
    body = json.loads(bash(DETECT.replace(THEIRS, older.url), folder))
    assert body["prediction"] == "real"
    assert body["confidence"] == 1 - body["debug_info"]["raw_prediction"] > 0.6
    assert body["processing_time"] > 0
    assert body["debug_info"]["input_shape"] == [1, 160, 160, 3]


def test_curl_augmented_detection(older: Running, folder: Path) -> None:
    body = json.loads(bash(AUGMENTED.replace(THEIRS, older.url), folder))
    assert body["original_prediction"]["prediction"] == "real"
    assert len(body["augmented_predictions"]) == 6
    assert body["consensus_prediction"] == "REAL"
    assert body["debug_info"]["total_predictions"] == 7
    assert body["debug_info"]["input_size"] == [512, 512]


def test_curl_health(older: Running, folder: Path) -> None:
    assert json.loads(bash(HEALTH.replace(THEIRS, older.url), folder))["status"] == "healthy"
