"""Configuration files: models of every key, loading with positions, checks that need no descriptors."""
