"""The gRPC door: the protocol's service beside health and reflection, its messages and what they hold."""
