"""Tests of the report, on small tables made by hand."""
