"""Ray Serve only: one thin class per deployment, the work itself comes from `models`."""
