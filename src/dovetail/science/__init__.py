"""What must be statistically true: pure functions of frames and small frozen records."""
