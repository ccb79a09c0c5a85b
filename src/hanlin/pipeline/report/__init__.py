"""What a run shows a person: the report card and the comparison of two."""
