"""Device profiles, toolchains, runners and the emulator."""
