"""Line 5: benchmarks, protocols, scores with intervals and chance levels."""
