"""How a version goes live: publishing, watching, and what the node shows of it."""
