"""The model behind the endpoint: training, export, the model repository and a server for it."""
