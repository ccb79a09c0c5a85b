"""Line 4: checkpoint surgery, tensor by tensor."""
