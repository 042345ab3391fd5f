"""The messages and stubs of speech.proto, generated: for what the typed API does not offer."""
