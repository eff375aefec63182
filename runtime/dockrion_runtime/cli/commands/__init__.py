"""One module a command: its arguments, options and help.

What a command does is imported when it is called: help and a shell's completion need none of it.
"""
