"""``python -m dockrion_runtime.cli`` is the ``dockrion`` command."""

from . import main

if __name__ == "__main__":
    main()
