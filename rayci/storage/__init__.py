"""Where the stage store's files lie: a local folder or a URL, a node's own copies, a limit on the room."""
