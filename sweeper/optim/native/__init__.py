"""The update of the adam program as one pass of C++, where a compiler is found."""
