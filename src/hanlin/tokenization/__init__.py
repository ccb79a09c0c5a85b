"""Line 2: train, extend, load and measure tokenizers."""
