"""Training that runs long: the question's perceptron, its cause, and what ranks well against it."""
