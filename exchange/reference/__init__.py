"""The venue in plain Python: slow, obvious, written from the rules alone, the twin the kernels are checked against."""
