"""Limits on the files of users. Imports nothing, so that clients of a served model apply the same limits."""

MAX_PIXELS = 50_000_000  # a 140 kB PNG can state 20,000 x 20,000; phones go up to 8,064 x 6,048
LONGEST_SOUND = 3_600.0  # seconds; as a waveform at 16 kHz this takes 230 MB
SAMPLE_RATES = (1_000, 1_000_000)  # lowest and highest samples per second of a sound
