"""Synthetic voices, one module per engine; each yields 24 kHz mono float32 speech for texts."""
