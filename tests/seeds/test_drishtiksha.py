import json
from pathlib import Path
from typing import Any

import av

from models.detectors.store import ROOT
from tests.seeds.clients import bash, node, python
from tests.service import Running

THEIRS = "http://localhost:8000"
KEY = "your_api_key_here"
PYTHON = """
import requests
import json

API_KEY = "your_api_key_here"
BASE_URL = "http://localhost:8000"
VIDEO_PATH = "video.mp4"

headers = {"X-API-Key": API_KEY}

with open(VIDEO_PATH, "rb") as video_file:
  response = requests.post(
  f"{BASE_URL}/analyze?model=siglip-lstm-v3",
  headers=headers,
  files={"video": video_file}
  )

result = response.json()
print(f"Prediction: {result['prediction']}")
print(f"Confidence: {result['confidence']:.3f}")
print(f"Processing Time: {result['processing_time']:.2f}s")

with open(VIDEO_PATH, "rb") as video_file:
  response = requests.post(
  f"{BASE_URL}/analyze/frames?model=color-cues-lstm-v1",
  headers=headers,
  files={"video": video_file}
  )

detailed_result = response.json()
print(f"Frame Analysis: {len(detailed_result['frame_predictions'])} frames")
print(f"Temporal Patterns: {detailed_result['temporal_analysis']}")
"""
CURL_HEALTH = 'curl -H "X-API-Key: your_api_key_here" http://localhost:8000/health'
CURL_FACTS = "curl http://localhost:8000/"
CURL_ANALYZE = """
curl -X POST "http://localhost:8000/analyze" \\
  -H "X-API-Key: your_api_key_here" \\
  -H "Content-Type: multipart/form-data" \\
  -F "video=@video.mp4"
"""
CURL_DETAILED = """
curl -X POST "http://localhost:8000/analyze/detailed?model=color-cues-lstm-v1" \\
  -H "X-API-Key: your_api_key_here" \\
  -F "video=@video.mp4"
"""
CURL_FRAMES = """
curl -X POST "http://localhost:8000/analyze/frames?model=siglip-lstm-v1" \\
  -H "X-API-Key: your_api_key_here" \\
  -F "video=@video.mp4"
"""
CURL_VISUALIZE = """
curl -X POST "http://localhost:8000/analyze/visualize?model=siglip-lstm-v3" \\
  -H "X-API-Key: your_api_key_here" \\
  -F "video=@video.mp4" \\
  --output "analyzed_video.mp4"
"""
SERVICE = """
const axios = require("axios");
const FormData = require("form-data");
const fs = require("fs");

class MLService {
  constructor() {
    this.baseURL = process.env.ML_SERVER_URL;
    this.apiKey = process.env.ML_API_KEY;
    this.timeout = parseInt(process.env.ML_SERVER_TIMEOUT) || 300000;
  }

  async analyzeVideo(videoPath, options = {}) {
    const {
    model = "siglip-lstm-v3",
    analysisType = "analyze",
    outputPath = null,
    } = options;

    try {
    const formData = new FormData();
    formData.append("video", fs.createReadStream(videoPath));

    const config = {
      method: "POST",
      url: `${this.baseURL}/${analysisType}?model=${model}`,
      headers: {
        "X-API-Key": this.apiKey,
        ...formData.getHeaders(),
      },
      data: formData,
      timeout: this.timeout,
      responseType: analysisType === "visualize" ? "stream" : "json",
    };

    const response = await axios(config);

    if (analysisType === "visualize" && outputPath) {
      const writer = fs.createWriteStream(outputPath);
      response.data.pipe(writer);
      return new Promise((resolve, reject) => {
        writer.on("finish", () =>
        resolve({
          success: true,
          outputPath,
        })
        );
        writer.on("error", reject);
      });
    }

    return {
      success: true,
      data: response.data,
      model: model,
      processingTime: response.data.processing_time,
    };
    } catch (error) {
    console.error("ML Service Error:", error.message);
    return {
      success: false,
      error: error.message,
      status: error.response?.status || 500,
    };
    }
  }

  async checkHealth() {
    try {
    const response = await axios.get(`${this.baseURL}/health`, {
      headers: { "X-API-Key": this.apiKey },
      timeout: 10000,
    });
    return { success: true, data: response.data };
    } catch (error) {
    return { success: false, error: error.message };
    }
  }

  async getAvailableModels() {
    try {
    const response = await axios.get(`${this.baseURL}/`, {
      headers: { "X-API-Key": this.apiKey },
    });
    return {
      success: true,
      models: response.data.available_models || [],
    };
    } catch (error) {
    return { success: false, error: error.message };
    }
  }
}

const mlService = new MLService();
"""


def curled(snippet: str, older: Running, folder: Path) -> str:
    return bash(snippet.replace(THEIRS, older.url).replace(KEY, older.key), folder)


def noded(call: str, older: Running, folder: Path, modules: Path) -> dict[str, Any]:
    own = {"ML_SERVER_URL": older.url, "ML_API_KEY": older.key}
    found: dict[str, Any] = json.loads(node(f"{SERVICE}\nconsole.log({call});", folder, modules, **own))
    return found


def frames_in(film: Path) -> int:
    with av.open(film) as opened:
        return sum(1 for _ in opened.decode(video=0))


def test_python(older: Running, folder: Path) -> None:
    lines = python(PYTHON.replace(THEIRS, older.url).replace(KEY, older.key), folder).splitlines()
    assert lines[0] == "Prediction: FAKE"
    assert [line.partition(":")[0] for line in lines[1:]] == [
        "Confidence",
        "Processing Time",
        "Frame Analysis",
        "Temporal Patterns",
    ]
    assert int(lines[3].split()[2]) > 0


def test_curl_facts_and_health(older: Running, folder: Path) -> None:
    assert json.loads(curled(CURL_HEALTH, older, folder))["model_loaded"]
    models = json.loads(curled(CURL_FACTS, older, folder))["available_models"]
    assert {"siglip-lstm-v1", "siglip-lstm-v3", "color-cues-lstm-v1"} <= set(models)


def test_curl_analyze(older: Running, folder: Path) -> None:
    body = json.loads(curled(CURL_ANALYZE, older, folder))
    assert body["prediction"] == "FAKE"
    assert {"confidence", "processing_time", "model", "timestamp"} <= set(body)


def test_curl_detailed(older: Running, folder: Path) -> None:
    body = json.loads(curled(CURL_DETAILED, older, folder))
    details = {"frame_count", "avg_confidence", "confidence_std", "temporal_consistency", "rolling_average"}
    assert details <= set(body["analysis_details"])
    assert {"version", "architecture", "device"} <= set(body["model_info"])
    assert {"gpu_memory_used", "processing_device"} <= set(body["system_info"])


def test_curl_frames(older: Running, folder: Path) -> None:
    body = json.loads(curled(CURL_FRAMES, older, folder))
    assert set(body["frame_predictions"][0]) >= {"frame", "confidence", "prediction"}
    temporal = {"consistency_score", "pattern_detection", "anomaly_frames", "confidence_trend"}
    assert temporal <= set(body["temporal_analysis"])
    summary = body["summary"]
    assert {"total_frames", "fake_frames", "real_frames", "avg_confidence"} <= set(summary)
    assert summary["total_frames"] == len(body["frame_predictions"])


def test_curl_visualize(older: Running, folder: Path) -> None:
    curled(CURL_VISUALIZE, older, folder)
    assert frames_in(folder / "analyzed_video.mp4") == frames_in(ROOT / "assets/sample_forged.mp4")


def test_node_analyze(older: Running, folder: Path, modules: Path) -> None:
    body = noded('await mlService.analyzeVideo("video.mp4")', older, folder, modules)
    assert (body["success"], body["data"]["prediction"], body["model"]) == (True, "FAKE", "siglip-lstm-v3")
    assert body["processingTime"] > 0


def test_node_by_both_spellings_of_the_other_analyses(older: Running, folder: Path, modules: Path) -> None:
    for kind, field in (
        ("detailed", "analysis_details"),
        ("analyze/detailed", "analysis_details"),
        ("frames", "frame_predictions"),
    ):
        call = f'await mlService.analyzeVideo("video.mp4", {{ analysisType: "{kind}" }})'
        body = noded(call, older, folder, modules)
        assert field in body["data"], kind


def test_node_visualize(older: Running, folder: Path, modules: Path) -> None:
    options = '{ analysisType: "visualize", outputPath: "out.mp4" }'
    body = noded(f'await mlService.analyzeVideo("video.mp4", {options})', older, folder, modules)
    assert body == {"success": True, "outputPath": "out.mp4"}
    assert frames_in(folder / "out.mp4") == frames_in(ROOT / "assets/sample_forged.mp4")


def test_node_facts_and_health(older: Running, folder: Path, modules: Path) -> None:
    assert noded("await mlService.checkHealth()", older, folder, modules)["data"]["model_loaded"]
    assert "siglip-lstm-v3" in noded("await mlService.getAvailableModels()", older, folder, modules)["models"]


def test_node_reads_the_status_of_an_unknown_model(older: Running, folder: Path, modules: Path) -> None:
    call = 'await mlService.analyzeVideo("video.mp4", { model: "invalid-model" })'
    body = noded(call, older, folder, modules)
    assert (body["success"], body["status"]) == (False, 404)
