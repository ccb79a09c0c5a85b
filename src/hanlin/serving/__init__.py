"""Line 5: the HTTP API and the web page."""
