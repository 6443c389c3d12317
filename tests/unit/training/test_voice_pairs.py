import wave
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.unit.training.speech import spoken
from training.vocoders.pairs import LENGTH, Corpus, corpus, made, pair
from training.vocoders.speech import READ, WORDS, Recording, read_samples, recordings

SPEECH = Corpus(
    [Recording(Path(f"{source}.flac"), source, source, "val", "real") for source in (READ, WORDS)],
    [spoken(16), spoken(4, 200.0)],
)


def turned(samples: NDArray[np.float32], _rng: np.random.Generator) -> NDArray[np.float32]:
    """A copy that is the voice upside down: told apart by its sign, whatever happens to both."""
    return -samples


def write_table(data: Path, name: str, rows: list[str]) -> None:
    (data / name).write_text("\n".join(["file,label,speaker,split", *rows]) + "\n")


def test_a_pair_is_a_stretch_and_its_copy_through_the_same_history() -> None:
    _, both = pair(SPEECH, turned, np.random.default_rng(8))
    assert both.shape == (2, LENGTH)
    assert both.dtype == np.int16
    assert np.corrcoef(both[0], both[1])[0, 1] < -0.5


def test_equal_generators_give_equal_pairs() -> None:
    one, same = (pair(SPEECH, turned, np.random.default_rng(2))[1] for _ in range(2))
    assert np.array_equal(one, same)


def test_a_recording_that_is_shorter_than_a_pair_is_repeated() -> None:
    short = replace(SPEECH, all=SPEECH.all[1:], sounds=SPEECH.sounds[1:])
    _, both = pair(short, turned, np.random.default_rng(3))
    assert np.array_equal(both[:, :16_000], both[:, 16_000:32_000])


def test_a_pause_is_drawn_again() -> None:
    gap = np.concatenate([np.zeros(9 * LENGTH, np.float32), spoken(12)])
    paused = replace(SPEECH, all=SPEECH.all[:1], sounds=[gap])
    loud = [paused.stretch(np.random.default_rng(seed))[1].std() > 0.01 for seed in range(40)]
    assert np.mean(loud) > 0.3  # three of thirteen starts lead to more than silence


def test_pairs_that_are_on_disk_are_not_made_again(tmp_path: Path) -> None:
    first = made(tmp_path, "val", "turned", turned, SPEECH, 2)

    def refuse(_samples: NDArray[np.float32], _rng: np.random.Generator) -> NDArray[np.float32]:
        raise AssertionError

    again = made(tmp_path, "val", "turned", refuse, SPEECH, 2)
    assert np.array_equal(first.pairs, again.pairs)
    assert again.picks.shape == (2,)
    with pytest.raises(AssertionError):
        made(tmp_path, "val", "turned", refuse, SPEECH, 3)


def test_recordings_are_those_of_the_split_and_the_sources(tmp_path: Path) -> None:
    write_table(tmp_path, "speech_real_read.csv", ["speech_real_read/a.flac,real,ann,train"])
    rows = [
        "speech_real/b.flac,real,ben,val",
        "speech_real_8k/c.flac,real,cid,train",
        "speech_real/d.flac,real,dot,train",
    ]
    write_table(tmp_path, "speech.csv", rows)
    assert [of.name for of in recordings(tmp_path, "train")] == ["a", "d"]


def test_a_corpus_leaves_out_what_is_too_short(tmp_path: Path) -> None:
    kept = corpus([_written(tmp_path, name, syllables) for name, syllables in (("long", 4), ("short", 1))])
    assert [of.name for of in kept.all] == ["long"]
    assert len(kept.sounds[0]) == 16_000


def test_samples_are_read_as_they_were_written(tmp_path: Path) -> None:
    assert np.abs(read_samples(_written(tmp_path, "voice", 2).path) - spoken(2)).max() < 1e-4


def _written(folder: Path, name: str, syllables: int) -> Recording:
    path = folder / f"{name}.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(np.rint(spoken(syllables) * 32767).astype("<i2").tobytes())
    return Recording(path, READ, name, "val", "real")
