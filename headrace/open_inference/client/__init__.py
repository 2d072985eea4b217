"""Asking a model at any of its server's endpoints: channels over HTTP and gRPC, choice, retries and deadlines."""
