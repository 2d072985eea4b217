"""A real kube-apiserver with KServe's CustomResourceDefinitions, and what it says of our manifests and commands.

Nothing runs behind it: no controller, no scheduler, no node. What they would do is played, as in the server
that the other tests run against; what the API server itself does is real.
"""
