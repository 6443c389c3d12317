"""Measuring detectors on labelled files, and fitting calibration and fusion to what was measured."""
