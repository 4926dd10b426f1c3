"""The campaign: every way in which this project looks for its own faults, each short in pytest, long in the runner."""
