"""Windowed SummaryMixing for ESPnet: fine-tune the last layers of an S3PRL upstream in linear time."""

__version__ = "0.1.0"
