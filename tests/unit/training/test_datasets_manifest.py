from pathlib import Path

import pytest

from training.datasets.items import DatasetError, Item
from training.datasets.manifest import manifest, write_manifest


def table(folder: Path, *lines: str) -> Path:
    path = folder / "data.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_path_and_label_are_enough(tmp_path: Path) -> None:
    (item,) = manifest(table(tmp_path, "path,label", "clips/a.mp4,fake"))
    assert (item.path, item.label, item.kind) == (tmp_path / "clips/a.mp4", "fake", "video")
    assert item.group == "clips/a.mp4"
    assert item.split


def test_every_column_is_read(tmp_path: Path) -> None:
    header = "split,path,kind,label,group,source,manipulation"
    (item,) = manifest(table(tmp_path, header, "val,/data/a,audio,FAKE,ann|ben,lab,tts"))
    assert item == Item(Path("/data/a"), "fake", "ann|ben", "val", "lab", "tts", "audio")


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    items = (
        Item(tmp_path / "x" / "a, b.mp4", "real", "ann", "train", "lab"),
        Item(tmp_path / "c.wav", "fake", "ben|cat", "", "lab", 'the "new" one', "audio"),
        Item(Path("/elsewhere/d.png"), "fake", "dan", "test", "", "swap", "image"),
    )
    write_manifest(items, tmp_path / "out" / ".." / "data.csv")
    assert manifest(tmp_path / "data.csv") == items


def test_paths_below_the_csv_move_with_it(tmp_path: Path) -> None:
    write_manifest([Item(tmp_path / "old" / "a.mp4", "real", "ann", "train")], tmp_path / "old" / "data.csv")
    (tmp_path / "old").rename(tmp_path / "new")
    assert manifest(tmp_path / "new" / "data.csv")[0].path == tmp_path / "new" / "a.mp4"


def test_every_wrong_line_is_named_with_its_number(tmp_path: Path) -> None:
    path = table(
        tmp_path,
        "path,label,split,kind",
        "a.mp4,fake,train,",
        "b.mp4,forged,train,",
        "",
        "c.mp4,real,dev,",
        "a.mp4,real,train,",
        ",real,train,",
        "d.txt,real,train,",
        "e.mp4,real,train,film",
        "f.mp4,real,train,video,more",
    )
    with pytest.raises(DatasetError) as error:
        manifest(path)
    told = str(error.value)
    for number, what in [
        (3, "'forged' is neither real nor fake"),
        (5, "no split 'dev'"),
        (6, "a.mp4 is there twice"),
        (7, "no path"),
        (8, "no suffix of media"),
        (9, "kind 'film'"),
        (10, "more cells"),
    ]:
        assert f"line {number}: " in told
        assert what in told
    assert "line 2:" not in told


def test_after_ten_wrong_lines_the_others_are_counted(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"line 11: .*; and 5 more"):
        manifest(table(tmp_path, "path,label", *(f"{i}.mp4,no" for i in range(15))))


@pytest.mark.parametrize("header", ["path", "file,label", "path,label,spit", "path,label,label", ""])
def test_a_header_that_lacks_a_column_or_has_one_nobody_reads_is_refused(tmp_path: Path, header: str) -> None:
    with pytest.raises(DatasetError, match=r"header .*Needed: path, label"):
        manifest(table(tmp_path, header, "a.mp4,real,train"))


def test_a_byte_order_mark_is_no_part_of_the_header(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_bytes(b"\xef\xbb\xbfpath,label\r\na.mp4,real\r\n")
    assert manifest(tmp_path / "data.csv")[0].label == "real"


def test_an_empty_cell_of_the_column_split_leaves_the_item_out(tmp_path: Path) -> None:
    assert [item.split for item in manifest(table(tmp_path, "path,label,split", "a.mp4,real,", "b.mp4,real,val"))] == [
        "",
        "val",
    ]


def test_a_split_that_is_named_takes_everything(tmp_path: Path) -> None:
    path = table(tmp_path, "path,label,split", "a.mp4,real,train", "b.mp4,fake,")
    assert [item.split for item in manifest(path, split="test")] == ["test", "test"]


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DatasetError, match="not UTF-8"):
        manifest(tmp_path / "data.csv")


def test_a_folder_in_place_of_the_csv_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="cannot be read"):
        manifest(tmp_path)
