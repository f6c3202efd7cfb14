"""Rows: their schema, the Parquet file, its metadata and sidecar."""
