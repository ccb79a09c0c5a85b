"""Line 0: errors, strict config, records, artifacts, files, lazy tables. No heavy imports."""
