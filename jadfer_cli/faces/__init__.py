"""From a frame to faces: found, followed, aligned, and judged for quality."""
