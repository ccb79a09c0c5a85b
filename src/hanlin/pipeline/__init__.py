"""Line 6: recipe, plan, run, report card; the table of stages."""
