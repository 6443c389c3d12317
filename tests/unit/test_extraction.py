import io
import threading
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from typing import Any, Literal

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from models.errors import Cancelled, EmptyMedia, UnsupportedMedia
from models.extraction import Extraction, Extractor, nothing_to_see
from models.media.limits import Limits
from models.types import MediaFacts, Timings, Track, View
from tests.media import clip, clip_from_frames, gradient, silence, sound_only, still, tone

FACE = View("face", 64, margin=0.3, count=8)
FRAME = View("frame", 48, fit="pad", count=4)
SOUND = View("audio", 16_000, fit="pad", count=4, minimum=8_000)


@pytest.fixture(scope="module")
def talking(portrait: NDArray[np.uint8]) -> bytes:
    """20 frames of 960x540 in which the portrait drifts."""
    return clip_from_frames(scene(portrait, i) for i in range(20))


def scene(portrait: NDArray[np.uint8], i: int) -> NDArray[np.uint8]:
    frame = np.full((540, 960, 3), 90, np.uint8)
    frame[:512, 100 + 4 * i : 612 + 4 * i] = portrait
    return frame


def extract(media: bytes, *views: View, limits: Limits | None = None) -> Any:
    return Extractor(limits or Limits()).extract(np.frombuffer(media, np.uint8), "00", views)


def test_each_view_has_its_own_size_and_count(talking: bytes) -> None:
    extraction, clips = extract(talking, FACE, FRAME)
    (face,), (frame,) = clips[FACE], clips[FRAME]
    assert face.data.shape == (8, 64, 64, 3)
    assert frame.data.shape == (4, 48, 48, 3)
    assert (face.track, frame.track) == (0, None)
    assert extraction.media.frames_total == 20
    assert extraction.media.frames_analysed == 10  # of 8 and 4 evenly spread, first and last are shared


def test_a_view_holds_the_frames_of_its_times(talking: bytes) -> None:
    _, clips = extract(talking, FACE, FRAME)
    assert clips[FACE][0].times_s == pytest.approx(np.rint(np.linspace(0, 19, 8)) / 30, abs=1e-3)
    assert clips[FRAME][0].times_s == pytest.approx(np.rint(np.linspace(0, 19, 4)) / 30, abs=1e-3)


def test_a_view_is_the_same_whatever_is_extracted_beside_it(talking: bytes) -> None:
    _, alone = extract(talking, FRAME)
    _, beside = extract(talking, FACE, FRAME)
    assert np.array_equal(alone[FRAME][0].data, beside[FRAME][0].data)


def test_a_face_crop_shows_the_face(talking: bytes, portrait: NDArray[np.uint8]) -> None:
    _, clips = extract(talking, FACE)
    # The portrait's face with the same margin, cut by hand.
    expected = cv2.resize(portrait[50:194, 149:293], (64, 64), interpolation=cv2.INTER_AREA)
    found = clips[FACE][0].data[0]
    assert np.corrcoef(found.ravel().astype(float), expected.ravel().astype(float))[0, 1] > 0.6


def test_boxes_are_in_pixels_of_the_picture_even_when_it_is_scaled_down(talking: bytes) -> None:
    full, _ = extract(talking, FACE)
    small, _ = extract(talking, FACE, limits=Limits(working_side=640))
    assert small.media.width == full.media.width == 960
    assert small.tracks[0].boxes_xyxy[0] == pytest.approx(full.tracks[0].boxes_xyxy[0], abs=25)


def test_without_a_face_there_is_no_clip_and_the_reason_is_said() -> None:
    extraction, clips = extract(clip(frames=10), FACE, FRAME)
    assert clips[FACE] == ()
    assert len(clips[FRAME]) == 1
    assert nothing_to_see(FACE, extraction).why == "no face: none was found in 8 analysed frames"


def test_a_face_seen_in_fewer_frames_than_a_view_needs_is_left_out(talking: bytes) -> None:
    demanding = View("face", 64, count=8, minimum=9)
    extraction, clips = extract(talking, demanding)
    assert clips[demanding] == ()
    assert nothing_to_see(demanding, extraction).why == "face too brief: seen in 8 analysed frames, 9 are needed"


def test_a_picture_is_a_clip_of_one_frame(portrait: NDArray[np.uint8]) -> None:
    extraction, clips = extract(still(portrait), FACE, FRAME)
    assert clips[FACE][0].data.shape == (1, 64, 64, 3)
    assert clips[FRAME][0].times_s.tolist() == [0.0]
    media = extraction.media
    assert (media.kind, media.container, media.width, media.frames_total, media.frames_analysed) == (
        "image",
        "jpeg",
        512,
        1,
        1,
    )


def test_an_animation_is_analysed_by_its_first_picture_and_says_so() -> None:
    data = still(gradient(), "gif", save_all=True, append_images=[Image.fromarray(gradient()[::-1].copy())])
    extraction, clips = extract(data, FRAME)
    assert len(clips[FRAME][0].data) == 1
    assert (extraction.media.frames_total, extraction.media.frames_analysed) == (2, 1)


def test_windows_of_sound_spread_from_the_beginning_to_the_end() -> None:
    extraction, clips = extract(sound_only(tone(10), "wav", "pcm_s16le"), SOUND)
    (heard,) = clips[SOUND]
    assert (heard.data.shape, heard.data.dtype, heard.track) == ((4, 16_000), np.float32, None)
    assert heard.times_s.tolist() == [0.0, 3.0, 6.0, 9.0]
    media = extraction.media
    assert (media.kind, media.container, media.codec, media.audio_s) == ("audio", "wav", "pcm_s16le", 10.0)


def test_windows_of_sound_follow_a_hop() -> None:
    sliding = View("audio", 16_000, fit="pad", count=3, hop=4_000)
    _, clips = extract(sound_only(tone(10), "wav", "pcm_s16le"), sliding)
    assert clips[sliding][0].times_s.tolist() == [0.0, 0.25, 0.5]


@pytest.mark.parametrize("fit", ["pad", "repeat"])
def test_sound_shorter_than_a_window_is_padded_or_repeated(fit: Literal["pad", "repeat"]) -> None:
    view = View("audio", 16_000, fit=fit, count=4)
    _, clips = extract(sound_only(tone(0.5), "wav", "pcm_s16le"), view)
    ((window,),) = (clip.data for clip in clips[view])
    expected = window[:8_000] if fit == "repeat" else np.zeros(8_000)
    assert np.array_equal(window[8_000:], expected)


def test_pictures_and_sound_of_one_video_are_extracted_at_once() -> None:
    extraction, clips = extract(clip(60, sound=tone(2)), FRAME, SOUND)
    assert clips[FRAME][0].data.shape == (4, 48, 48, 3)
    assert clips[SOUND][0].data.shape[1] == 16_000
    assert extraction.media.kind == "video"
    assert extraction.media.frames_analysed == 4


def test_what_no_view_wants_is_not_decoded() -> None:
    video = clip(60, sound=tone(2))
    listening, _ = extract(video, SOUND)
    watching, _ = extract(video, FRAME)
    assert (listening.media.kind, listening.media.frames_total, listening.media.frames_analysed) == ("video", 60, 0)
    assert watching.media.audio_s > 1.9
    assert watching.heard_s == 0


NOTHING: dict[str, tuple[Callable[[], bytes], View, str]] = {
    "a face in a recording": (
        lambda: sound_only(tone(1), "mp3", "libmp3lame"),
        FACE,
        "no pictures: there is only sound",
    ),
    "a frame in a recording": (lambda: sound_only(tone(1)), FRAME, "no pictures: there is only sound"),
    "a face in a landscape": (lambda: still(gradient()), FACE, "no face: none was found in 1 analysed frame"),
    "more frames than a picture has": (
        lambda: still(gradient()),
        View("frame", 48, count=4, minimum=4),
        "too few frames: 1 could be decoded, 4 are needed",
    ),
    "the sound of a picture": (lambda: still(gradient()), SOUND, "no sound: a picture has none"),
    "the sound of a silent film": (lambda: clip(3), SOUND, "no sound: the video has no sound track"),
    "a track of a codec off the list": (
        lambda: clip(30, sound=tone(1), sound_codec="alac"),
        SOUND,
        "no sound: the codec of the sound track, alac, is not accepted",
    ),
    "silence": (
        lambda: sound_only(silence(3), "flac", "flac"),
        SOUND,
        "silence: nothing can be heard in 3.0 s of sound",
    ),
    "a word": (
        lambda: sound_only(np.concatenate([silence(1), tone(0.4), silence(1)]), "wav", "pcm_s16le"),
        SOUND,
        "too little sound: 0.4 s of audible sound, 0.5 s are needed",
    ),
}


@pytest.mark.parametrize(("make", "view", "why"), NOTHING.values(), ids=NOTHING.keys())
def test_a_view_without_a_clip_says_why(make: Callable[[], bytes], view: View, why: str) -> None:
    extraction, clips = extract(make(), view)
    assert clips[view] == ()
    assert nothing_to_see(view, extraction).why == why


def test_a_track_that_cannot_be_decoded_is_told_from_one_that_is_not_there() -> None:
    film = Extraction(MediaFacts("video", "00", 1, audio_s=3.0), (), Timings(), audio_codec="aac")
    assert nothing_to_see(SOUND, film).why == "no sound: nothing of the aac sound track could be decoded"


def test_a_face_whose_crops_are_too_few_though_its_track_is_long_says_so() -> None:
    track = Track(0, np.arange(20.0), np.zeros((20, 4), np.float32))
    film = Extraction(MediaFacts("video", "00", 1, frames_analysed=20), (track,), Timings())
    why = nothing_to_see(View("face", 64, minimum=8), film).why
    assert why == "face too brief: seen in too few of the frames looked at, 8 are needed"


def test_a_recording_whose_codec_is_not_accepted_is_refused() -> None:
    with pytest.raises(UnsupportedMedia, match="alac"):
        extract(sound_only(tone(1), "mp4", "alac"), SOUND, FACE)


def test_what_leaves_beside_the_views_is_small(talking: bytes) -> None:
    def arrays(value: Any) -> int:
        if isinstance(value, np.ndarray):
            return value.nbytes
        if is_dataclass(value):
            return sum(arrays(getattr(value, f.name)) for f in fields(value))
        return sum(map(arrays, value)) if isinstance(value, tuple) else 0

    extraction, _ = extract(talking, FACE)
    assert 0 < arrays(extraction) < 10_000


def test_extraction_stops_when_it_is_cancelled(talking: bytes) -> None:
    cancelled = threading.Event()
    cancelled.set()
    with pytest.raises(Cancelled):
        Extractor(Limits()).extract(np.frombuffer(talking, np.uint8), "00", [FACE], cancelled=cancelled)


def test_an_empty_file_is_named() -> None:
    with pytest.raises(EmptyMedia):
        extract(b"", FACE)


def test_each_track_has_a_thumbnail_of_its_face(talking: bytes, portrait: NDArray[np.uint8]) -> None:
    extraction, _ = extract(talking, FACE)
    picture = np.asarray(Image.open(io.BytesIO(extraction.tracks[0].thumbnail)))
    assert max(picture.shape) == 96
    expected = cv2.resize(portrait[55:189, 154:288], (96, 96), interpolation=cv2.INTER_AREA)
    assert np.corrcoef(cv2.resize(picture, (96, 96)).ravel().astype(float), expected.ravel())[0, 1] > 0.6


def test_without_faces_asked_for_there_is_no_thumbnail(talking: bytes) -> None:
    extraction, _ = extract(talking, FRAME)
    assert extraction.tracks == ()
