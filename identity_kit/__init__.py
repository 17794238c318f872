"""identity_kit: give a chat model a new identity, and prove that it took."""

__version__ = "0.1.0"
