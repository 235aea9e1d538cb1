"""Studies behind the claims of the documentation, each a command that prints its numbers; see README.md."""
