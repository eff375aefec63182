"""LangChain runnables as agents: what they give, and what their models say on the way."""
