"""The process around the workers: what it knows of them, and how it starts and ends."""
