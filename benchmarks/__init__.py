"""Long proofs and measurements: what the tests do in seconds, done until a figure can be named."""
