"""Drawing a verdict into the media it was reached on: a film, a picture, or a spectrogram."""
