"""Many videos: what to do, who does it, what came of it."""
