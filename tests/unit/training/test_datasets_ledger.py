from pathlib import Path

from training.datasets.ledger import FAILURES, HASHES, Failure, Ledger

CORRUPT = Failure("a.mp4", "ab", "corrupt_media", "nothing could be decoded", ("k1", "k2"))


def test_a_hash_is_known_to_the_next_run(tmp_path: Path) -> None:
    file = tmp_path / "a.mp4"
    file.write_bytes(b"1")
    Ledger(tmp_path).learn(file, "ab")
    assert Ledger(tmp_path).sha256(file) == "ab"


def test_the_hash_of_a_file_that_changed_is_not_known(tmp_path: Path) -> None:
    file = tmp_path / "a.mp4"
    file.write_bytes(b"1")
    Ledger(tmp_path).learn(file, "ab")
    file.write_bytes(b"22")
    assert Ledger(tmp_path).sha256(file) == ""


def test_the_hash_of_a_file_that_is_gone_is_not_known(tmp_path: Path) -> None:
    file = tmp_path / "a.mp4"
    file.write_bytes(b"1")
    Ledger(tmp_path).learn(file, "ab")
    file.unlink()
    assert Ledger(tmp_path).sha256(file) == ""


def test_a_hash_is_written_once(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").touch()
    for _ in range(3):
        Ledger(tmp_path).learn(tmp_path / "a.mp4", "ab")
    assert len((tmp_path / HASHES).read_text().splitlines()) == 1


def test_a_failure_in_the_bytes_is_known_to_the_next_run(tmp_path: Path) -> None:
    Ledger(tmp_path).fail(CORRUPT)
    assert Ledger(tmp_path).lasting_failure("ab", ["k2"]) == CORRUPT
    assert Ledger(tmp_path).lasting_failure("ab", ["k3"]) is None
    assert Ledger(tmp_path).lasting_failure("cd", ["k2"]) is None


def test_a_failure_that_may_pass_is_tried_again(tmp_path: Path) -> None:
    Ledger(tmp_path).fail(Failure("a.mp4", "ab", "decoder_timeout", "too slow", ("k1",)))
    assert Ledger(tmp_path).lasting_failure("ab", ["k1"]) is None


def test_a_line_cut_short_by_a_full_disk_is_passed_over(tmp_path: Path) -> None:
    Ledger(tmp_path).fail(CORRUPT)
    with (tmp_path / FAILURES).open("a") as file:
        file.write('{"path": "b.mp4", "sha')
    assert Ledger(tmp_path).lasting_failure("ab", ["k1"]) == CORRUPT
