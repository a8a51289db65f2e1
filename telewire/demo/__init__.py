"""The live demonstration: the examples between two processes, judged by what both sides recorded."""
