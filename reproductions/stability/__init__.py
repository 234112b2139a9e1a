"""Training that runs long: the question's perceptron, its cause, and what avoids it."""
