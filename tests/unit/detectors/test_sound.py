import numpy as np

from models.detectors.sound import judged


def test_a_sound_scores_the_mean_of_its_windows() -> None:
    assert judged(np.array([1.0, 4.0]), np.array([0.0, 2.0]), 16_000).logit == 2.5


def test_a_logit_of_the_whole_sound_is_taken_instead_of_the_mean() -> None:
    assert judged(np.array([1.0, 4.0]), np.array([0.0, 2.0]), 16_000, 3.0).logit == 3


def test_each_window_keeps_its_logit_and_where_it_starts_and_ends() -> None:
    score = judged(np.array([1.0, 4.0]), np.array([0.0, 2.5]), 64_600)
    assert score.per_window_logits == (1.0, 4.0)
    assert score.windows_s == ((0.0, 4.0375), (2.5, 6.5375))


def test_no_frame_has_a_logit_since_no_head_was_trained_per_frame() -> None:
    assert judged(np.array([1.0]), np.array([0.0]), 16_000).per_frame_logits == ()
