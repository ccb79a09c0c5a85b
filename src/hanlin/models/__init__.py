"""Line 3: load, grow, make and size a model."""
