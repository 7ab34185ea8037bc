"""Model servers over HTTP, behind one small protocol."""
