"""The HTTP door: connections, the ASGI application with every route, and the way past it that most inferences go."""
