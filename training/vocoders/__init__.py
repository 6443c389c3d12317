"""Small neural vocoders, trained here on real speech, whose copies of it are the fakes of voice training."""
