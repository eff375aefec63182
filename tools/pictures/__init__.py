"""Pictures of the documentation: real commands, recorded in a terminal."""
