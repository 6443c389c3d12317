from pathlib import Path

import pytest

from tests.unit.training.layout import by_name, lay
from training.datasets.asvspoof import asvspoof
from training.datasets.items import DatasetError, Manifest

TRAIN = "LA_0079 LA_T_1138215 - - bonafide\nLA_0079 LA_T_1271820 - A01 spoof\n"
DEV = "LA_0069 LA_D_1047731 - - bonafide\n"
EVAL = "LA_0039 LA_E_2834763 - A11 spoof\n"
TRIALS_LA = (
    "LA_0009 LA_E_9332881 alaw ita_tx A07 spoof notrim eval\n"
    "LA_0020 LA_E_6866159 ulaw lux_tx bonafide bonafide notrim progress\n"
)
TRIALS_DF = (
    "LA_0023 DF_E_2000011 nocodec asvspoof A14 spoof notrim eval traditional_vocoder - - - -\n"
    "TEF2 DF_E_2000013 low_m4a vcc2020 Task1-team20 spoof notrim eval neural_vocoder - - - -\n"
)


def year_2019(root: Path, **protocols: str) -> Path:
    lists = {"train": TRAIN, "dev": DEV, "eval": EVAL} | protocols
    for part, content in lists.items():
        name = f"ASVspoof2019.LA.cm.{part}.{'trn' if part == 'train' else 'trl'}.txt"
        lay(root, f"ASVspoof2019_LA_{part}/flac/.keep", f"ASVspoof2019_LA_cm_protocols/{name}")
        (root / "ASVspoof2019_LA_cm_protocols" / name).write_text(content)
    return root


def year_2021(root: Path, track: str, trials: str) -> Path:
    lay(root, f"ASVspoof2021_{track}_eval/flac/.keep", f"keys/{track}/CM/trial_metadata.txt")
    (root / f"keys/{track}/CM/trial_metadata.txt").write_text(trials)
    return root


def test_2019_has_its_official_splits_speakers_and_attacks(tmp_path: Path) -> None:
    root = year_2019(tmp_path / "LA")
    found = by_name(Manifest(asvspoof(root)))
    assert {name: (i.label, i.split, i.group, i.manipulation) for name, i in found.items()} == {
        "LA_T_1138215": ("real", "train", "asvspoof/LA_0079", ""),
        "LA_T_1271820": ("fake", "train", "asvspoof/LA_0079", "A01"),
        "LA_D_1047731": ("real", "val", "asvspoof/LA_0069", ""),
        "LA_E_2834763": ("fake", "test", "asvspoof/LA_0039", "A11"),
    }
    assert found["LA_D_1047731"].path == root / "ASVspoof2019_LA_dev/flac/LA_D_1047731.flac"
    assert {item.kind for item in found.values()} == {"audio"}


def test_the_folder_above_the_track_will_do(tmp_path: Path) -> None:
    year_2019(tmp_path / "LA")
    assert len(asvspoof(tmp_path)) == 4


def test_2021_is_test_and_only_its_evaluation_subset(tmp_path: Path) -> None:
    found = by_name(asvspoof(year_2021(tmp_path, "LA", TRIALS_LA)))
    assert (found["LA_E_9332881"].label, found["LA_E_9332881"].split) == ("fake", "test")
    assert (found["LA_E_6866159"].label, found["LA_E_6866159"].split) == ("real", "")
    assert {item.split for item in asvspoof(tmp_path, subset="all")} == {"test"}


def test_both_tracks_of_2021_are_told_apart(tmp_path: Path) -> None:
    root = year_2021(year_2021(tmp_path, "LA", TRIALS_LA), "DF", TRIALS_DF)
    found = by_name(Manifest(asvspoof(root)))
    assert found["LA_E_9332881"].source == "asvspoof2021-la"
    assert found["DF_E_2000013"].source == "asvspoof2021-df"
    assert found["DF_E_2000013"].path == root / "ASVspoof2021_DF_eval/flac/DF_E_2000013.flac"


def test_sound_in_several_parts_is_found_in_its_part(tmp_path: Path) -> None:
    year_2021(tmp_path, "DF", TRIALS_DF)
    (tmp_path / "ASVspoof2021_DF_eval/flac/.keep").unlink()
    (tmp_path / "ASVspoof2021_DF_eval/flac").rmdir()
    parts = [
        f"ASVspoof2021_DF_eval_part0{i}/ASVspoof2021_DF_eval/flac/DF_E_200001{name}.flac"
        for i, name in ((0, 1), (1, 3))
    ]
    lay(tmp_path, *parts)
    Manifest(asvspoof(tmp_path)).require_files()


def test_a_speaker_trained_on_in_one_year_and_tested_in_another_is_refused(tmp_path: Path) -> None:
    root = year_2021(year_2019(tmp_path), "LA", "LA_0079 LA_E_1 alaw ita_tx A07 spoof notrim eval\n")
    with pytest.raises(DatasetError, match="asvspoof/LA_0079 in test and train"):
        Manifest(asvspoof(root))


def test_a_wrong_line_of_2019_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"cm\.dev\.trl\.txt: line 2: .*LA_0069 LA_D_1 - genuine"):
        asvspoof(year_2019(tmp_path, dev=DEV + "LA_0069 LA_D_1 - genuine\n"))


def test_a_wrong_line_of_2021_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"trial_metadata\.txt: line 3: "):
        asvspoof(year_2021(tmp_path, "LA", TRIALS_LA + "LA_0009 LA_E_1 alaw ita_tx A07 fake notrim eval\n"))


def test_sound_that_is_not_there_is_named_with_the_option_that_helps(tmp_path: Path) -> None:
    year_2021(tmp_path, "LA", TRIALS_LA)
    (tmp_path / "ASVspoof2021_LA_eval").rename(tmp_path / "sound")
    with pytest.raises(DatasetError, match=r"ASVspoof2021_LA_eval/flac is not there.*flac=FOLDER"):
        asvspoof(tmp_path)
    assert asvspoof(tmp_path, flac=str(tmp_path / "sound/flac"))[0].path.parent == tmp_path / "sound/flac"


def test_a_folder_without_protocols_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="neither"):
        asvspoof(tmp_path)


def test_an_unknown_subset_is_refused_naming_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="eval, progress, hidden, all"):
        asvspoof(tmp_path, subset="test")
