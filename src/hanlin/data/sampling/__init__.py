"""Which rows of a data set are kept, when only some can be? Those that cover most of its words."""
