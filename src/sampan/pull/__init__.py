"""Whole images from whichever hosts have them, into the store and from there into a sink."""
