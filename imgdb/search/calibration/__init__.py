"""Calibration: takes pictures, gives how many copies and wrong images each distance finds."""
