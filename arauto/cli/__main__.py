"""``python -m arauto.cli``: the same as ``arauto``."""

from arauto.cli import main

main()
