"""A LangGraph agent that answers questions from a folder of documents."""
