from collections import Counter
from pathlib import Path

from training.datasets.items import Manifest
from training.forgeries.families import FAMILIES, UNSEEN_NAME
from training.validation.plan import face_pair, families_of, seeded, sound_pair

PERSONS = range(132)


def test_a_person_meets_every_family_once_moving_or_still() -> None:
    for number in (0, 1, 2, 3):
        assert sorted(families_of("clips", number) + families_of("pictures", number)) == sorted(FAMILIES)


def test_every_family_forges_clips_of_as_many_persons() -> None:
    counts = Counter(family for number in PERSONS for family in families_of("clips", number))
    assert set(counts.values()) == {66}


def test_random_choices_depend_on_the_pair_alone() -> None:
    one, same, other = (face_pair("clips", name, "self_blend", name) for name in ("a", "a", "b"))
    assert one.rng("history").random() == same.rng("history").random() != other.rng("history").random()
    assert one.rng("forgery").random() != one.rng("history").random()
    assert seeded("a").random() == seeded("a").random()


def test_the_real_of_a_swap_belongs_to_its_own_person_and_the_forgery_to_both() -> None:
    real, fake = face_pair("pictures", "a", "face_swap", "a|b").items(Path(), "val")
    assert (real.label, real.groups) == ("real", ("a",))
    assert (fake.label, fake.groups) == ("fake", ("a", "b"))


def test_a_family_that_is_never_trained_on_says_so_in_the_manifest() -> None:
    _, fake = face_pair("clips", "a", UNSEEN_NAME, "a").items(Path(), "val")
    _, voice = sound_pair("a", "s", "LibriSpeech", "world", unseen=True).items(Path(), "val")
    assert fake.manipulation == f"{UNSEEN_NAME}, unseen"
    assert voice.manipulation == "world, unseen"


def test_both_of_a_pair_have_one_format_and_the_manifest_takes_them() -> None:
    pair = face_pair("pictures", "a", "self_blend", "a")
    items = Manifest(pair.items(Path(), "val"))
    assert len({item.path.suffix for item in items}) == 1
    assert {item.kind for item in items} == {"image"}
