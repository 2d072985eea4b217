"""Triton backends for machines without NVIDIA's image, each a folder of the name that a model's configuration gives."""
