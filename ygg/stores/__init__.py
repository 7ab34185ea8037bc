"""Where tasks live: the one truth, behind one small protocol."""
