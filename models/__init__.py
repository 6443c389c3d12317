"""What the detectors are and how media becomes a verdict: no Ray, no HTTP, importable alone."""
