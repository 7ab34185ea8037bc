"""ygg: the dispatcher in front of the GPU machines you own."""
