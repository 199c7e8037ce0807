"""Measures what LiftOS Core promises, as ratios against baselines and peers of the same run."""
