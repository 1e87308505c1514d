"""CPU per request of the gateway beside its rivals. `python -m benchmarks` runs it, `--help` tells how."""
