"""Arithmetic of sound: samples, loudness, instruments, the composer, the encoder. Knows nothing of briefs."""
