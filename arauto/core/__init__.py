"""The ground's words: domain types, errors, settings, clock. Imports nothing of ours."""
