"""A tiny predictor of face landmarks, trained in a millisecond on noise: the published file may not be shipped."""

from pathlib import Path

import dlib
import numpy as np

# Where the trained faces have their points, as shares of the box: a known rectangle within it.
LOW, HIGH = 0.1, 0.9


def write_predictor(path: Path, points: int = 68) -> Path:
    """A predictor that puts its points on a diagonal of the box, from a tenth to nine tenths."""
    options = dlib.shape_predictor_training_options()
    options.cascade_depth, options.tree_depth, options.num_trees_per_cascade_level = 1, 2, 2
    options.oversampling_amount, options.feature_pool_size, options.num_test_splits = 1, 20, 2
    options.num_threads = 1
    noise = np.random.default_rng(0).integers(0, 256, (3, 120, 120), np.uint8)
    places = np.rint(10 + 100 * np.linspace(LOW, HIGH, points)).astype(int)
    face = dlib.full_object_detection(dlib.rectangle(10, 10, 110, 110), [dlib.point(v, v) for v in places.tolist()])
    dlib.train_shape_predictor(list(noise), [[face]] * len(noise), options).save(str(path))
    return path
