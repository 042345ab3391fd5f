"""Makes checkpoints: seeded ones for tests, benchmarks and demos, trained ones from synthetic speech."""
