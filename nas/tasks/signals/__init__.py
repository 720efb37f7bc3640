"""Signals: windows of recordings such as audio, vibration or ECG, with a class or values for each."""
