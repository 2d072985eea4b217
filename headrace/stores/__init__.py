"""Where features live: online stores for requests, the offline store for training."""
