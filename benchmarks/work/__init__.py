"""What a worker does that keeps and follows runs; each module holds the commands of one store.

A command is a coroutine that is called by name, ``module.function``, and answers with a JSON value.
"""
