"""What the two engines compute with: a transformer over slots, its cache, its matrices. Torch, and nothing of moshi."""
