"""Looks at everything a dispatcher rests on, and says of each: it works, or how to mend it."""
