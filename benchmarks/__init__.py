"""Side-by-side measurements: `python -m benchmarks.involution`, `python -m benchmarks.model`, `make bench` for all."""
