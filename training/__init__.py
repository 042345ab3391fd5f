"""Trains the embedded checkpoint `models/dsm-tiny-en`: speech, alignment, network, export, evaluation.

Steps, one command each: `python -m training.generate`, `.align`, `.train`, `.export`, `.evaluate`.
"""
