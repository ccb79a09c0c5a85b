"""Line 4: generate and score."""
