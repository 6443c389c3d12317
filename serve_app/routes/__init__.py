"""The routes, one noun per file."""
