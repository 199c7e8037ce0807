"""Simulators of the advertising platforms: one truth, and a faithful face for each platform.

truth       what happened and what each platform knows of it at a moment (pure)
worlds      builds a truth from a seed
clock       the time all faces live in
faults      what goes wrong, as data
journal     what was asked, for assertions
simulation  the five above, held together; every face is built on one
http        answers and how they are delivered, also badly
meta, google_ads, klaviyo   the faces
control     the simulation over HTTP, for tests in other processes
testing     all faces in this process, for tests
"""
