"""moshi itself behind the engines' interfaces: what benchmarks compare with."""
