"""Detectors distilled under policies, on paired students: trained, measured, kept, compared."""
