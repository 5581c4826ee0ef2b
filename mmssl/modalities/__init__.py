"""Modalities: how raw files become tokens."""
