"""What `rltemp COMMAND` does, a module per command."""
