"""Reading media: probe, plan, decode in a confined child process, sound."""
