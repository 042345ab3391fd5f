"""LM service: codes to text tokens and timed words, many sessions in one batch."""
