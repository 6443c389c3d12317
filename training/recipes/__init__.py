"""Recipes: each trains one bundled detector from nothing to its weights and figures, by one command."""
