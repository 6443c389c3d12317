import io
import json
from pathlib import Path

from PIL import Image

from tests.seeds.clients import bash, run
from tests.service import Running

THEIRS = "http://localhost:5000"
HEALTH = "curl http://localhost:5000/health"
PREDICT = 'curl -X POST -F "image=@test.jpg" http://localhost:5000/predict'
RECENT = "curl http://localhost:5000/api/db/predictions/recent"
STATISTICS = "curl http://localhost:5000/api/db/statistics"
BATCH = 'curl -X POST -F "images=@test.jpg" -F "images=@notes.txt" -F "images=@test.jpg" http://localhost:5000/batch_predict'


def test_curl(older: Running, folder: Path) -> None:
    (folder / "image.jpg").rename(folder / "test.jpg")
    assert json.loads(bash(HEALTH.replace(THEIRS, older.url), folder))["status"] == "ok"
    made = json.loads(bash(PREDICT.replace(THEIRS, older.url), folder))
    assert (made["success"], made["prediction"]["label"], made["prediction"]["is_fake"]) == (True, "REAL", False)
    assert (made["image_info"]["width"], made["image_info"]["height"]) == (512, 512)
    assert_opens_without_a_key(made["result_image_url"], folder)
    newest = json.loads(bash(RECENT.replace(THEIRS, older.url), folder))["predictions"][0]
    assert (newest["original_filename"], newest["result_filename"]) == ("test.jpg", made["result_filename"])
    assert_opens_without_a_key(newest["minio_url"], folder)
    assert json.loads(bash(STATISTICS.replace(THEIRS, older.url), folder))["real_count"] >= 1


def test_curl_batch(older: Running, folder: Path) -> None:
    (folder / "image.jpg").rename(folder / "test.jpg")
    (folder / "notes.txt").write_text("no picture")
    body = json.loads(bash(BATCH.replace(THEIRS, older.url), folder))
    assert (body["total_images"], body["successful"], body["failed"]) == (3, 2, 1)
    assert [one["index"] for one in body["results"]] == [0, 2]
    assert body["errors"][0]["filename"] == "notes.txt"


def assert_opens_without_a_key(url: str, folder: Path) -> None:
    run(["curl", "--fail", "--silent", "--show-error", "--output", "result", url], folder)
    drawn = Image.open(io.BytesIO((folder / "result").read_bytes()))
    assert (drawn.format, drawn.size) == ("JPEG", (512, 512))
