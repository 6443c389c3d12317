"""Real media files of persons that no detector was trained on, and their forgeries: what detectors are measured on."""
