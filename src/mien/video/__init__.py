"""Pictures in time: files, cameras, windows; faces that keep their numbers; what was seen when."""
