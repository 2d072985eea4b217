"""Triton on a laptop: the server of the nvidia-pytriton wheel, on loopback, for development and CI only."""
