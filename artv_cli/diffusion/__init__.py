"""The maths of diffusion: tensors in, tensors out, no networks and no files."""
