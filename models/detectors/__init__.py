"""The detectors: one file per architecture, and the catalogue that builds one from its row."""
