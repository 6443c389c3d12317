"""Drawn faces and synthesised voices in the layout of the development data: what a smoke run trains on."""
