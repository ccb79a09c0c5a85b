"""How does a checkpoint get here whole, over any line?"""
