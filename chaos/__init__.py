"""Long runs full of faults: processes are killed at random, and nothing may be lost or doubled."""
