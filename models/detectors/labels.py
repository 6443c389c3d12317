"""Label orders. Published detectors disagree on which output is fake; here a logit above 0 always means fake."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from models.errors import WeightsError
from models.types import Class

# Words of published label tables, in lower case.
FAKE_WORDS = frozenset({"fake", "deepfake", "ai", "artificial", "generated", "synthetic", "spoof", "manipulated"})
REAL_WORDS = frozenset({"real", "realism", "human", "authentic", "genuine", "bonafide", "original", "natural"})

NEGATIONS = frozenset({"not", "non", "no"})  # before one of them: it names neither, and is not guessed at

EPSILON = 1e-7  # probabilities closer to 0 or 1 than single precision tells apart


def fake_logits(outputs: NDArray[np.float32], labels: Sequence[Class]) -> NDArray[np.float64]:
    """Logits of "fake" from a network's outputs.

    Args:
        outputs: `(N, C)` logits.
        labels: `C` labels. With one, the output is the logit of that label. With more, the outputs are those of a
            softmax, and the result is the log odds of all fake classes together against all real ones.

    Returns:
        `(N,)` float64; the sigmoid is the probability of fake.

    Raises:
        WeightsError: the number of labels is not the number of outputs, or a class is missing.
    """
    values = outputs.astype(np.float64)
    if values.shape[1] != len(labels):
        raise WeightsError(f"the network has {values.shape[1]} outputs and {len(labels)} labels.")
    if len(labels) == 1:
        return values[:, 0] if labels[0] == "fake" else -values[:, 0]
    parts = {of: values[:, [label == of for label in labels]] for of in ("fake", "real")}
    if not all(part.shape[1] for part in parts.values()):
        raise WeightsError(f"the labels {', '.join(labels)} do not name both fake and real.")
    log_odds: NDArray[np.float64] = np.logaddexp.reduce(parts["fake"], axis=1)
    log_odds -= np.logaddexp.reduce(parts["real"], axis=1)
    return log_odds


def logits_of(probabilities: NDArray[np.float32]) -> NDArray[np.float64]:
    """`(N,)` float64 logits of probabilities, for networks that end in a sigmoid or softmax of their own."""
    p = np.clip(probabilities.astype(np.float64), EPSILON, 1 - EPSILON)
    logits: NDArray[np.float64] = np.log(p) - np.log1p(-p)
    return logits


def logit_of_mean(logits: NDArray[np.float64]) -> float:
    """The logit of the mean of `(T,)` probabilities, from their logits: exact where they are all but 0 or 1."""
    fake, real = -np.logaddexp(0, -logits), -np.logaddexp(0, logits)
    return float(np.logaddexp.reduce(fake) - np.logaddexp.reduce(real))


def established(id2label: Mapping[int, str], stated: Sequence[Class], name: str) -> tuple[Class, ...]:
    """The label order of a checkpoint that carries one.

    Args:
        id2label: the checkpoint's own table.
        stated: the catalogue row's, or nothing.
        name: of the checkpoint, for the error.

    Raises:
        WeightsError: the table's words say neither fake nor real and the row states nothing, or the two disagree.
    """
    order = [id2label[i] for i in sorted(id2label)]
    read = tuple(_class_of(word) for word in order)
    if stated:
        known = [(a, b) for a, b in zip(read, stated, strict=False) if a is not None]
        if len(stated) != len(order) or any(a != b for a, b in known):
            raise WeightsError(
                f"{name}: its id2label says {', '.join(order)}, its catalogue row says {', '.join(stated)}.",
                "The two must agree: labels are turned when the wrong one wins.",
            )
        return tuple(stated)
    if any(of is None for of in read) or len(set(read)) < 2:  # noqa: PLR2004 - fake and real
        raise WeightsError(
            f"{name}: its id2label says {', '.join(order)}, which does not tell fake from real.",
            "State `labels` in its catalogue row, from the model's card.",
        )
    return tuple(of for of in read if of is not None)


def _class_of(word: str) -> Class | None:
    words = word.lower().replace("-", " ").replace("_", " ").split()
    if any(a in NEGATIONS and b in FAKE_WORDS | REAL_WORDS for a, b in pairwise(words)):
        return None
    parts = {*words, word.lower().replace("-", "")}
    fake, real = parts & FAKE_WORDS, parts & REAL_WORDS
    if bool(fake) == bool(real):
        return None
    return "fake" if fake else "real"
