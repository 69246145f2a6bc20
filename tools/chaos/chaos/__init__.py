"""Faults, operators and clients against a mesh of real nodes, and a checker of what they saw."""
