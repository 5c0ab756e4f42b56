"""Tests: `unit` (values in, values out), `functional` (the real kernel), `scenarios` (whole networks)."""
