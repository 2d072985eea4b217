"""RonDB's REST server, which Hopsworks reads online features from: our own client of it, and a store over it."""
