"""Line 5: continued pretraining and instruction tuning."""
