"""Policies on paired students: measured, kept, compared."""
