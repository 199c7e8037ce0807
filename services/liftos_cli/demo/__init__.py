"""`liftos demo`: a public data set through the whole system, and the proof that nothing was lost.

Read `channels.py` first (what each column of the file becomes), then `walk.py` (what the demo does
with a running stack) and `command.py` (which starts and stops one). `docs/demo.md` tells the same
for people who use it.
"""
