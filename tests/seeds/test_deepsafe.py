import ast
import json
from pathlib import Path
from typing import Any

from tests.seeds.clients import bash, node, python
from tests.service import Running

THEIRS = "http://localhost:8000"
PYTHON = """
import requests

response = requests.get('http://localhost:8000/api/health/')
print(response.json())

with open('test_video.mp4', 'rb') as video_file:
    files = {'video': video_file}
    data = {'analyze_audio': 'true'}
    response = requests.post(
        'http://localhost:8000/api/detect/video/',
        files=files,
        data=data
    )
    print(response.json())

with open('test_audio.wav', 'rb') as audio_file:
    files = {'audio': audio_file}
    response = requests.post(
        'http://localhost:8000/api/detect/audio/',
        files=files
    )
    print(response.json())
"""
FETCH_HEALTH = """
fetch('http://localhost:8000/api/health/')
  .then(response => response.json())
  .then(data => console.log(data));
"""
FETCH_VIDEO = """
const videoFile = await chosen('test_video.mp4');
const formData = new FormData();
formData.append('video', videoFile);
formData.append('analyze_audio', 'true');

fetch('http://localhost:8000/api/detect/video/', {
  method: 'POST',
  body: formData
})
  .then(response => response.json())
  .then(data => console.log(data));
"""
FETCH_AUDIO = """
const audioFile = await chosen('test_audio.wav');
const audioFormData = new FormData();
audioFormData.append('audio', audioFile);

fetch('http://localhost:8000/api/detect/audio/', {
  method: 'POST',
  body: audioFormData
})
  .then(response => response.json())
  .then(data => console.log(data));
"""
CURL_HEALTH = "curl http://localhost:8000/api/health/"
CURL_VIDEO = """
curl -X POST http://localhost:8000/api/detect/video/ \\
  -F "video=@test_video.mp4" \\
  -F "analyze_audio=true"
"""
CURL_AUDIO = """
curl -X POST http://localhost:8000/api/detect/audio/ \\
  -F "audio=@test_audio.wav"
"""


def assert_healthy(body: dict[str, Any]) -> None:
    assert (body["status"], body["video_model_loaded"], body["audio_model_loaded"]) == ("healthy", True, True)


def assert_video(body: dict[str, Any]) -> None:
    assert (body["success"], body["file_type"]) == (True, "video"), body
    video, audio, combined = (body["predictions"][name] for name in ("video", "audio", "combined"))
    assert (video["prediction"], audio["prediction"]) == ("real", "fake")
    mixed = 0.6 * video["fake_probability"] + 0.4 * audio["fake_probability"]
    assert abs(combined["fake_probability"] - mixed) < 1e-9
    assert video["frames_analyzed"] > 0


def assert_audio(body: dict[str, Any]) -> None:
    assert (body["success"], body["file_type"]) == (True, "audio"), body
    audio = body["predictions"]["audio"]
    assert audio["prediction"] == "fake"
    assert abs(audio["duration_seconds"] - 4) < 0.1
    assert audio["segments_analyzed"] > 0


def test_python(older: Running, folder: Path) -> None:
    said = python(PYTHON.replace(THEIRS, older.url), folder)
    health, video, audio = map(ast.literal_eval, said.splitlines())
    assert_healthy(health)
    assert_video(video)
    assert_audio(audio)


def test_fetch(older: Running, folder: Path) -> None:
    assert_healthy(json.loads(node(FETCH_HEALTH.replace(THEIRS, older.url), folder)))
    assert_video(json.loads(node(FETCH_VIDEO.replace(THEIRS, older.url), folder)))
    assert_audio(json.loads(node(FETCH_AUDIO.replace(THEIRS, older.url), folder)))


def test_curl(older: Running, folder: Path) -> None:
    assert_healthy(json.loads(bash(CURL_HEALTH.replace(THEIRS, older.url), folder)))
    assert_video(json.loads(bash(CURL_VIDEO.replace(THEIRS, older.url), folder)))
    assert_audio(json.loads(bash(CURL_AUDIO.replace(THEIRS, older.url), folder)))


def test_a_picture_is_refused_in_the_readmes_words(older: Running, folder: Path) -> None:
    said = bash(CURL_VIDEO.replace(THEIRS, older.url).replace("test_video.mp4", "image.jpg"), folder)
    assert json.loads(said) == {
        "success": False,
        "error": "Unsupported video format. Supported formats: MP4, AVI, MOV, WEBM",
        "error_type": "validation_error",
    }
