"""Tickets: what opens one run's events, or one socket, to a client that cannot send a header.

A browser's EventSource and WebSocket take an address and nothing else, and a key has no place in one. A
ticket has: it is short-lived, reads one thing only, and is worth nothing afterwards.
"""
