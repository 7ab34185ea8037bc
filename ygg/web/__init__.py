"""What the dispatcher shows and takes over HTTP."""
