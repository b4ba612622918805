"""`sampan pull` beside the programs that pull images elsewhere.

A sample is a process from its start to its end, with an empty store and an empty place for the image.
"""
