"""The core: what decides. Imports the standard library and pydantic only; everything else is an adapter."""
