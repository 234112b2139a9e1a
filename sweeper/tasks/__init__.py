"""What is trained: the Task seam, its adapter to torch.func, and the bundled tasks."""
