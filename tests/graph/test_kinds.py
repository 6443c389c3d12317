"""A clip, a picture and a voice note through the service, each scored by two detectors of its kind at once."""

import io
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
import yaml
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from safetensors.torch import save_file

from models.detectors import aasist
from models.detectors.catalogue import CATALOGUE_FILE
from models.detectors.store import ROOT
from models.detectors.weights import sha256_of
from serve_app.profile import check_profile
from serve_app.up import deploy
from tests.api.conftest import assert_problem
from tests.media import silence, sound_only, tone
from tests.service import Running

FACES, FRAMES, VOICE, SPEECH = "mobilenet-sbi-v1", "tiny-vit", "aasist-small", "tiny-wav2vec2"
ABSENT = "never-pulled"
VIEW_OF_SOUND = {"region": "audio", "size": 64600, "fit": "repeat", "count": 4, "minimum": 8000}


def row(model: str, architecture: str, view: dict[str, Any], files: dict[str, Path], **more: Any) -> dict[str, Any]:
    return {
        "id": model,
        "revision": "test",
        "architecture": architecture,
        "summary": "made by a test",
        "licence": "none",
        "usage": "none",
        "files": {name: {"path": str(path), "sha256": sha256_of(path)} for name, path in files.items()},
        "view": view,
        "share": {"num_cpus": 0.05, "batch_frames": 16},
        **more,
    }


def tiny_vit(folder: Path) -> dict[str, Path]:
    """A ViT of random weights, saved as transformers saves one."""
    torch.manual_seed(1)
    config = transformers.ViTConfig(
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=32,
        id2label={0: "Real", 1: "Fake"},
        label2id={"Real": 0, "Fake": 1},
    )
    transformers.ViTForImageClassification(config).save_pretrained(folder)
    normal = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "size": {"height": 32, "width": 32}, "resample": 2}
    preprocessor = folder / "preprocessor_config.json"
    preprocessor.write_text(json.dumps({"image_processor_type": "ViTImageProcessor", **normal}), "utf-8")
    return files_of(folder)


def tiny_wav2vec2(folder: Path) -> dict[str, Path]:
    torch.manual_seed(2)
    config = transformers.Wav2Vec2Config(
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        conv_dim=(16, 16),
        conv_stride=(5, 4),
        conv_kernel=(10, 8),
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=4,
        id2label={0: "fake", 1: "real"},
        label2id={"fake": 0, "real": 1},
    )
    transformers.Wav2Vec2ForSequenceClassification(config).save_pretrained(folder)
    transformers.Wav2Vec2FeatureExtractor().save_pretrained(folder)  # type: ignore[no-untyped-call]
    return files_of(folder)


def files_of(folder: Path) -> dict[str, Path]:
    names = {"weights": "model.safetensors", "config": "config.json", "preprocessor": "preprocessor_config.json"}
    return {name: folder / file for name, file in names.items() if (folder / file).exists()}


def small_aasist(folder: Path) -> dict[str, Path]:
    torch.manual_seed(3)
    path = folder / "aasist.safetensors"
    net = aasist.Aasist(aasist.FORMS[24])
    for name, parameter in net.named_parameters():
        if name.rpartition(".")[2].startswith(("pos", "master", "att_weight")):
            torch.nn.init.normal_(parameter, std=0.1)  # the network itself leaves them to the weights
    save_file(net.state_dict(), path)
    return {"weights": path}


def write_catalogue(folder: Path) -> Path:
    """The project's face detector, a frame detector, two voice detectors, and one whose weights are not here."""
    content = yaml.safe_load(CATALOGUE_FILE.read_text("utf-8"))
    faces = next(row for row in content["models"] if row["id"] == FACES)
    frame_view = {"region": "frame", "size": 32, "resample": "bilinear", "count": 8}
    (folder / "vit").mkdir()
    (folder / "wav2vec2").mkdir()
    content["models"] = [
        {**faces, "share": {**faces["share"], "num_cpus": 0.05}},
        row(FRAMES, "hf_image_classifier", frame_view, tiny_vit(folder / "vit")),
        row(VOICE, "aasist", VIEW_OF_SOUND, small_aasist(folder), labels=["fake", "real"]),
        row(SPEECH, "hf_audio_classifier", VIEW_OF_SOUND, tiny_wav2vec2(folder / "wav2vec2")),
        {**row(ABSENT, "aasist", VIEW_OF_SOUND, {}), "files": {"weights": {"path": ""}}, "labels": ["fake", "real"]},
    ]
    path = folder / "models.yaml"
    path.write_text(yaml.safe_dump(content), "utf-8")
    return path


@pytest.fixture(scope="module")
def kinds(running: Running, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A second application on the same Ray, at /kinds, with that catalogue."""
    folder = tmp_path_factory.mktemp("kinds")
    variables = {"UNMASK_CATALOGUE": str(write_catalogue(folder)), "UNMASK_MODELS_DIR": str(folder / "store")}
    profile = check_profile(ROOT / "configs/serve/local.yaml")
    profile["http_options"]["port"] = int(running.url.rpartition(":")[2])
    first = profile["applications"][0]
    second = {
        **first,
        "name": "kinds",
        "route_prefix": "/kinds",
        "runtime_env": {"env_vars": variables},
        "deployments": [{"name": "FrameExtractor", "ray_actor_options": {"num_cpus": 0.1}}],
    }
    console = Console(quiet=True)
    deploy({**profile, "applications": [first, second]}, threading.Event(), console)
    yield Running(running.url + "/kinds", running.key)
    deploy(profile, threading.Event(), console)


def answered(body: dict[str, Any]) -> dict[str, str]:
    return {detector["id"]: detector["status"] for detector in body["detectors"]}


def test_a_clip_is_scored_by_two_detectors_at_once(kinds: Running) -> None:
    body = kinds.post("/analyze", (ROOT / "assets/sample_real.mp4").read_bytes()).json()
    assert body["media"]["kind"] == "video"
    assert (answered(body)[FACES], answered(body)[FRAMES]) == ("ok", "ok")
    assert 0 < body["p_fake"] < 1


def test_a_picture_is_scored_by_two_detectors_at_once(kinds: Running, portrait: NDArray[np.uint8]) -> None:
    file = io.BytesIO()
    Image.fromarray(portrait).save(file, "JPEG", quality=92)
    body = kinds.post("/analyze", file.getvalue()).json()
    assert body["media"]["kind"] == "image"
    assert (answered(body)[FACES], answered(body)[FRAMES]) == ("ok", "ok")
    assert answered(body)[VOICE] == "not_applicable"
    assert 0 < body["p_fake"] < 1


def test_a_voice_note_is_scored_by_two_detectors_at_once(kinds: Running) -> None:
    note = sound_only(tone(9.0), "ogg", "libopus")
    body = kinds.post("/analyze", note).json()
    assert body["media"]["kind"] == "audio"
    assert (answered(body)[VOICE], answered(body)[SPEECH]) == ("ok", "ok")
    assert answered(body)[FACES] == "not_applicable"
    assert 0 < body["p_fake"] < 1
    assert {point["region"] for point in body["timeline"]} == {"audio"}


def test_faces_and_whole_frames_are_findings_of_their_own(kinds: Running) -> None:
    body = kinds.post("/analyze", (ROOT / "assets/sample_real.mp4").read_bytes()).json()
    face, frame = (next(f for f in body["findings"] if f["region"] == region) for region in ("face", "frame"))
    assert (face["detectors"], frame["detectors"]) == ([FACES], [FRAMES])
    assert body["p_fake"] == max(face["p_fake"], frame["p_fake"])
    assert body["faces"][0]["p_fake"] == face["p_fake"]


def test_only_those_that_are_named_answer_and_all_of_them_decide(kinds: Running) -> None:
    body = kinds.post("/analyze", sound_only(tone(4.0)), model=f"{SPEECH},{VOICE}").json()
    assert answered(body) == {SPEECH: "ok", VOICE: "ok"}
    assert body["mode"] == "selection"
    assert body["findings"][0]["detectors"] == [SPEECH, VOICE]


def test_a_cascade_answers_for_a_voice_note(kinds: Running) -> None:
    body = kinds.post("/analyze", sound_only(tone(4.0)), model="cascade").json()
    assert body["mode"] == "cascade"
    assert answered(body)[VOICE] == "ok"
    assert answered(body)[SPEECH] in {"ok", "not_needed"}
    assert 0 < body["p_fake"] < 1


def test_what_is_not_installed_is_named_and_the_rest_answers(kinds: Running) -> None:
    body = kinds.post("/analyze", sound_only(tone(4.0))).json()
    assert answered(body)[ABSENT] == "not_installed"
    assert body["degraded"]
    assert body["p_fake"] is not None


def test_asking_for_what_is_not_installed_is_503_with_the_command(kinds: Running) -> None:
    response = kinds.post("/analyze", sound_only(tone(4.0)), model=ABSENT)
    problem = assert_problem(response, 503, "model_not_installed")
    assert f"unmask models convert FILE --as aasist --id {ABSENT}" in problem["detail"]


def test_silence_is_undetermined_and_named(kinds: Running) -> None:
    body = kinds.post("/analyze", sound_only(silence(4.0)), model=VOICE).json()
    assert (body["prediction"], body["p_fake"]) == ("UNDETERMINED", None)
    assert "silence" in body["reason"]
