"""Line 7: words to one call; the only place that prints or exits."""
