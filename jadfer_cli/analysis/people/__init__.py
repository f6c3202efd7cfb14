"""Who is who in results: faces of the video are recognised, and tracks get names of people."""
