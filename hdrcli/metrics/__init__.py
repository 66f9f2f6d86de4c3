"""Metrics, one file each: functions on arrays. Import them from their modules."""
