"""Line 1: what is known of scripts, and texts made comparable; every character keeps its place."""
