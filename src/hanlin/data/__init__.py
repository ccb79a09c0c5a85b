"""Line 3: rows in, training rows out."""
