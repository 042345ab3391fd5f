"""Codec service: 24 kHz audio to Mimi codes, many sessions in one batch."""
