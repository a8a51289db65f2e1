"""The conversation as a pure machine: frames and commands in, batches and events out."""
