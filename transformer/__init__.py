"""A request into a model's input, and the model's answer back."""
