"""Wires: other protocols that carry the same events. Each is a view, and knows nothing of any framework."""
