"""Tests of the checker and of what it stands on."""
