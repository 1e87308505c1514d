"""Configuration compiled to ready-to-run objects: the only place where config meets features."""
