"""What a verdict rests on, for people: the frames, the places and the words."""
