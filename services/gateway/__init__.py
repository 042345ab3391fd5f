"""Gateway: the public gRPC API; owns sessions and knows the order codec, then LM."""
