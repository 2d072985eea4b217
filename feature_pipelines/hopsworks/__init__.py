"""Records of the pipelines' groups into Hopsworks: rows through the topics of its feature groups."""
