import numpy as np
import pytest

from models.detectors.labels import established, fake_logits, logits_of
from models.errors import WeightsError
from models.types import Class


def softmax(values: np.ndarray) -> np.ndarray:
    powers = np.exp(values - values.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


@pytest.mark.parametrize(("label", "sign"), [("fake", 1), ("real", -1)])
def test_one_output_is_the_logit_of_its_label(label: Class, sign: int) -> None:
    outputs = np.array([[2.0], [-3.0]], np.float32)
    assert fake_logits(outputs, [label]) == pytest.approx(sign * outputs[:, 0])


@pytest.mark.parametrize("labels", [["real", "fake"], ["fake", "real"], ["fake", "fake", "real"]])
def test_the_sigmoid_of_the_logit_is_the_softmax_of_all_fake_classes_together(labels: list[Class]) -> None:
    outputs = np.random.default_rng(1).normal(0, 4, (50, len(labels))).astype(np.float32)
    expected = softmax(outputs)[:, [label == "fake" for label in labels]].sum(axis=1)
    assert 1 / (1 + np.exp(-fake_logits(outputs, labels))) == pytest.approx(expected, abs=1e-6)


def test_outputs_and_labels_of_different_number_are_refused() -> None:
    with pytest.raises(WeightsError, match="2 outputs and 3 labels"):
        fake_logits(np.zeros((1, 2), np.float32), ["fake", "fake", "real"])


def test_labels_without_a_real_class_are_refused() -> None:
    with pytest.raises(WeightsError, match="do not name both"):
        fake_logits(np.zeros((1, 2), np.float32), ["fake", "fake"])


def test_probabilities_of_0_and_1_have_finite_logits() -> None:
    assert logits_of(np.array([0.0, 0.5, 1.0], np.float32)) == pytest.approx([-16.118, 0, 16.118], abs=1e-3)


@pytest.mark.parametrize(
    ("words", "labels"),
    [
        (["Real", "Fake"], ("real", "fake")),
        (["Fake", "Real"], ("fake", "real")),
        (["Realism", "Deepfake"], ("real", "fake")),
        (["AI", "Deepfake", "Real"], ("fake", "fake", "real")),
        (["artificial", "human"], ("fake", "real")),
        (["spoof", "bona-fide"], ("fake", "real")),
        (["AI-generated", "not_edited real"], ("fake", "real")),
    ],
)
def test_published_label_tables_are_understood(words: list[str], labels: tuple[Class, ...]) -> None:
    assert established(dict(enumerate(words)), (), "model") == labels


@pytest.mark.parametrize(
    "words",
    [["LABEL_0", "LABEL_1"], ["cat", "fake"], ["fake real", "fake"], ["fake", "deepfake"], ["not_fake", "not_real"]],
)
def test_a_table_that_does_not_tell_fake_from_real_is_refused(words: list[str]) -> None:
    with pytest.raises(WeightsError, match=r"model: its id2label says .*State `labels`"):
        established(dict(enumerate(words)), (), "model")


def test_a_stated_order_stands_in_for_a_table_without_meaning() -> None:
    assert established({0: "LABEL_0", 1: "LABEL_1"}, ("fake", "real"), "model") == ("fake", "real")


@pytest.mark.parametrize("stated", [("fake", "real"), ("real", "fake", "fake")])
def test_a_stated_order_that_contradicts_the_table_is_refused(stated: tuple[Class, ...]) -> None:
    with pytest.raises(WeightsError, match="The two must agree"):
        established({0: "Real", 1: "Fake"}, stated, "model")
