"""Benchmarks: Headrace beside what people would use instead, in the same run and with the same inputs."""
