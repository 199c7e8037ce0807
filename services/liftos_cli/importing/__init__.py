"""From files to batches: `row_files.py` reads rows, `entry_batches.py` gives them types."""
