"""The same work by this engine and by others, on one broker, interleaved, each on one core."""
