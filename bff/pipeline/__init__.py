"""The straight line that every request runs, stage by stage."""
