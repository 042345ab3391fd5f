"""What a process tells of itself while it runs: the names of all metrics and spans, and where they go.

`metrics` and `spans` are what the rest of the code records with, through OpenTelemetry's API. Without `exporting`,
which `serve` calls, nothing is listening: recording then costs some ten nanoseconds. No audio, text, token, key or
address of a caller is in any of it.
"""
