"""Where models come from, and the container that fetches one: for a ModelCache's Job and for pods without a cache."""
