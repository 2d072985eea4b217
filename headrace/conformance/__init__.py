"""A judge of servers of the Open Inference Protocol (v2), whoever wrote them: over HTTP and gRPC, valid and malformed.

`judge.judge(server.Server(URL))` tries every check and reports what it finds; `headrace conformance` prints it. It
shares no codec with the servers of this project: a mistake of theirs would not be seen by its own reader.
"""
