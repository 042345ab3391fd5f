"""Commands that measure the services: each prints a summary and writes a JSON file with commit, machine, versions."""
