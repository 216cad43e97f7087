"""Celery: the same functions as in-process, woken by messages of names and ids."""
