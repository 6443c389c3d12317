from pathlib import Path

import av
import numpy as np
import pytest

from training.clips import spread_frames


@pytest.fixture
def ten_greys(tmp_path: Path) -> Path:
    """Ten frames at 5 per second, frame i of grey level 20 * i."""
    path = tmp_path / "greys.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=5)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for i in range(10):
            picture = np.full((48, 64, 3), 20 * i, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def test_frames_are_spread_over_the_clip_first_and_last_included(ten_greys: Path) -> None:
    frames = spread_frames(ten_greys, 4)
    assert [t_s for t_s, _ in frames] == pytest.approx([0, 0.6, 1.2, 1.8])
    assert [round(float(rgb.mean()) / 20) for _, rgb in frames] == [0, 3, 6, 9]


def test_a_clip_shorter_than_asked_gives_each_frame_once(ten_greys: Path) -> None:
    assert len(spread_frames(ten_greys, 16)) == 10
