"""Line 4: text to facts with spans. It is handed an engine; it never imports a backend."""
